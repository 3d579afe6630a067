"""Each rule of a conversion both ways: `imgforge preflight --convert` and the conversion agree."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgforge.bundle import MachineConfiguration
from imgforge.conversion_preflight import (
    ConversionTarget,
    preflight_conversion_of_bundle,
    preflight_conversion_of_disk,
)
from imgforge.conversion_step import StepName
from imgforge.ebs_conversion import EbsOptions, convert_to_ebs
from imgforge.errors import BadInputError
from tests.bundle_material import ACCOUNT, noise
from tests.ebs_desk import MIB, START, Desk, bundled, make_disk

UNTIL = StepName.DIGEST
AS_IT_IS = ConversionTarget()


def converts(desk: Desk, *, size_gib: int | None = None) -> bool:
    """Tell whether a conversion comes as far as to a volume."""
    try:
        convert_to_ebs(replace(desk.wish, ebs=EbsOptions(size_gib=size_gib), last_step=UNTIL))
    except BadInputError:
        return False
    return True


def of_disk(disk: Path, target: ConversionTarget = AS_IT_IS) -> list[str]:
    return [one.rule for one in preflight_conversion_of_disk(disk, target) if one.keeps_out]


def test_a_disk_of_linux_is_converted_and_its_lines_of_instance_store_are_named(
    tmp_path: Path,
) -> None:
    disk = make_disk(tmp_path)
    found = preflight_conversion_of_disk(disk, ConversionTarget())
    assert [one.rule for one in found] == ["convert-fstab-line"] * 2
    assert "line 2: '/dev/xvdb" in found[0].found
    assert "line 3: 'LABEL=UEFI" in found[1].found
    desk = bundled(tmp_path, disk)
    assert converts(desk)
    assert b"xvdb" not in (desk.made / "volume.raw").read_bytes()


def test_an_fstab_without_such_lines_is_left_alone(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, b"LABEL=/ / ext4 defaults 1 1\n")
    assert preflight_conversion_of_disk(disk, ConversionTarget()) == ()


def test_a_windows_image_is_not_converted(tmp_path: Path) -> None:
    disk = make_disk(tmp_path)
    content = bytearray(disk.read_bytes())
    content[START:] = b"\xeb\x52\x90NTFS    ".ljust(16 * MIB, b"\0")
    disk.write_bytes(content)
    assert of_disk(disk) == ["convert-windows"]
    assert not converts(bundled(tmp_path, disk))


def test_a_disk_that_nothing_boots_from_is_not_converted(tmp_path: Path) -> None:
    disk = tmp_path / "image"
    disk.write_bytes(noise(MIB))
    assert of_disk(disk) == ["convert-layout"]
    assert not converts(bundled(tmp_path, disk))


@pytest.mark.parametrize(("size_gib", "is_good"), [(1, False), (2, True), (None, True)])
def test_a_volume_is_as_large_as_the_image(
    tmp_path: Path, size_gib: int | None, is_good: bool
) -> None:
    disk = make_disk(tmp_path)
    with disk.open("r+b") as file:
        file.truncate(2**30 + 512)
    rules = [] if is_good else ["convert-size"]
    target = ConversionTarget(size_gib)
    assert of_disk(disk, target) == rules
    desk = bundled(tmp_path, disk)
    found = preflight_conversion_of_bundle(Path(desk.wish.source), target)
    assert [one.rule for one in found] == rules
    assert converts(desk, size_gib=size_gib) is is_good


def test_anothers_bundle_is_not_converted_and_product_codes_are_told(tmp_path: Path) -> None:
    """Whose it is, a conversion sees by the signature: nobody has another's key."""
    machine = MachineConfiguration("x86_64", product_codes=("A1B2C3",))
    desk = bundled(tmp_path, make_disk(tmp_path), machine)
    for account, rules in (
        (ACCOUNT, ["convert-product-codes"]),
        ("111122223333", ["convert-owner", "convert-product-codes"]),
    ):
        target = ConversionTarget(account_id=account)
        found = preflight_conversion_of_bundle(Path(desk.wish.source), target)
        assert [one.rule for one in found] == rules


def preflight(*words: str | Path, code: int) -> Any:
    line = [sys.executable, "-m", "imgforge", "preflight", *words, "--json"]
    ended = subprocess.run(line, capture_output=True, check=False, timeout=60, text=True)
    assert ended.returncode == code, ended.stderr
    return json.loads(ended.stdout)["findings"] if ended.stdout else ended.stderr


def test_the_command_tells_them(tmp_path: Path) -> None:
    disk = make_disk(tmp_path)
    with disk.open("r+b") as file:
        file.truncate(2**30 + 512)
    assert [one["rule"] for one in preflight(disk, "--convert", "--size", "1", code=1)] == [
        "convert-size",
        "convert-fstab-line",
        "convert-fstab-line",
    ]
    assert len(preflight(disk, "--convert", code=0)) == 2
    assert "--convert" in preflight(disk, "--size", "1", code=2)
