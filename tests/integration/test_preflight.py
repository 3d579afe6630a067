"""`imgforge preflight`: the request's rules and the disk's, all at once, and EC2 agrees."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.menu_disks import make_disk
from tests.serving import Serving, make_snapshot

MENU = (
    "default 0\nfallback 1\ntimeout 0\n"
    "title new\nroot (hd0)\nkernel /boot/k root=LABEL=root console=hvc0\ninitrd /boot/i\n"
    "title old\nroot (hd0)\nkernel /boot/k root=LABEL=root console=hvc0\n"
)
AKI = "aki-5c21674b"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system as PV-GRUB reads it; its kernel is none."""
    files = {"boot/k": b"kernel", "boot/i": b"initrd", "boot/grub/menu.lst": MENU.encode()}
    return make_disk(tmp_path_factory.mktemp("disk"), files)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def snapshot_id(serving: Serving) -> str:
    return make_snapshot(serving.client())


def preflight(disk: Path, *options: str, code: int = 1) -> list[dict[str, Any]]:
    words = [sys.executable, "-m", "imgforge", "preflight", str(disk), "--json"]
    ended = subprocess.run(
        [*words, "--name", "the name", *options], capture_output=True, check=False, timeout=60
    )
    assert ended.returncode == code, ended.stderr
    findings: list[dict[str, Any]] = json.loads(ended.stdout)["findings"] if ended.stdout else []
    return findings


def test_all_findings_come_at_once_with_rule_found_needed_and_source(disk: Path) -> None:
    options = ("--kernel-id", "aki-70cb0e10", "--region", "us-east-1", "--ena-support")
    findings = preflight(disk, *options, "--description", "x" * 256)
    by_rule = {finding["rule"]: finding for finding in findings}
    assert {"kernel-region", "ena-support", "description"} <= set(by_rule)
    assert any(finding["severity"] == "broken" for finding in findings)  # the kernel
    for finding in findings:
        assert finding["found"]
        assert finding["needed"]
        assert finding["source"]
        assert bool(finding["code"]) is (finding["severity"] == "refused")


def test_what_would_not_boot_is_told_with_its_line(disk: Path) -> None:
    [broken] = [
        finding
        for finding in preflight(disk, "--kernel-id", AKI, "--region", "us-east-1")
        if finding["severity"] == "broken" and "line 4:" in finding["found"]
    ]
    assert "/boot/k" in broken["found"]


def test_a_uefi_image_needs_an_efi_system_partition(tmp_path: Path) -> None:
    path = tmp_path / "d.raw"
    head = bytearray(512)
    head[:4] = b"\xeb\x63\x90\x00"
    head[446 + 4] = 0x83
    head[446 + 8 : 446 + 16] = (2048).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    head[510:] = b"\x55\xaa"
    path.write_bytes(head.ljust(4 * 2**20, b"\0"))
    without = preflight(path, "--boot-mode", "uefi")
    assert [finding["rule"] for finding in without] == ["esp"]
    head[446 + 4] = 0xEF
    path.write_bytes(head.ljust(4 * 2**20, b"\0"))
    assert preflight(path, "--boot-mode", "uefi", code=0) == []


@pytest.mark.parametrize(
    ("option", "value", "parameter"),
    [
        ("--description", "x" * 256, "Description"),
        ("--kernel-id", "vmlinuz", "KernelId"),
        ("--kernel-id", "aki-70cb0e10", "KernelId"),
        ("--kernel-id", "aki-04206613", "KernelId"),
        ("--ramdisk-id", "ari-12345678", "RamdiskId"),
        ("--ramdisk-id", "initrd", "RamdiskId"),
        ("--root-device-name", "/dev/xvda", "RootDeviceName"),
        ("--architecture", "arm64", "Architecture"),
        ("--architecture", "vax", "Architecture"),
        ("--boot-mode", "uefi", "BootMode"),
        ("--sriov-net-support", "simple", "SriovNetSupport"),
        ("--virtualization-type", "xen", "VirtualizationType"),
    ],
)
def test_what_it_finds_ec2_refuses_with_the_same_code(
    serving: Serving, snapshot_id: str, disk: Path, option: str, value: str, parameter: str
) -> None:
    """The same request, as the client's rules and as the endpoint's see it."""
    asked: dict[str, Any] = {
        "Name": "the name",
        "Architecture": "x86_64",
        "VirtualizationType": "paravirtual",
        "KernelId": AKI,
        "RootDeviceName": "/dev/sda1",
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": snapshot_id}}],
        parameter: value,
    }
    with pytest.raises(ClientError) as caught:
        serving.client().register_image(**asked)
    code = caught.value.response["Error"]["Code"]
    words = ["--kernel-id", AKI] if option != "--kernel-id" else []
    words += [option, value, "--region", "us-east-1"]
    if option in {"--architecture", "--virtualization-type"} and value in {"vax", "xen"}:
        assert preflight(disk, *words, code=2) == []  # no value of EC2's: the option names those
        assert code == "InvalidParameterValue"
        return
    refused = [finding for finding in preflight(disk, *words) if finding["severity"] == "refused"]
    assert refused[0]["code"] == code


def test_a_mapping_that_is_none_is_bad_input(disk: Path) -> None:
    for text in ("", "{}", "[1]", '[{"Ebs": 1}]', '[{"Ebs": {"VolumeSize": "8"}}]', "[" * 5000):
        assert preflight(disk, "--block-device-mappings", text, code=2) == []


def test_a_disk_that_nothing_names_is_looked_at_all_the_same(disk: Path) -> None:
    words = [sys.executable, "-m", "imgforge", "preflight", str(disk), "--json", "--ena-support"]
    ended = subprocess.run(words, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 1, ended.stderr
    by_rule = {one["rule"]: one for one in json.loads(ended.stdout)["findings"]}
    assert by_rule["name"]["found"] == "no name: no recipe is known of the disk"
    assert "--name" in by_rule["name"]["hint"]
    assert "ena-support" in by_rule
    assert any(one["severity"] == "broken" for one in by_rule.values())  # the kernel
