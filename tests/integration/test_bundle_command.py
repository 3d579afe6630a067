"""`imgforge bundle`, `imgforge certificate` and the ec2-… tools, as a person runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.bundle_material import noise, write_sparse

PROGRAMS = Path(sys.executable).parent
MIB = 2**20
KEYS = ("-k", "private-key.pem", "-c", "certificate.pem")
# Mounts a tmpfs of size $1 at $2, runs the rest, and lists what it left there.
SMALL = (
    'size=$1 place=$2; shift 2; mkdir -p "$place"; mount -t tmpfs -o size="$size" tmpfs "$place" '
    '|| exit 99; "$@"; code=$?; find "$place" -type f -printf "left %p\\n"; exit "$code"'
)


class Desk:
    """A folder with a key, its certificate and a disk, in which commands are run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data")}
        made = self.run("imgforge", "certificate", "create")
        assert made.returncode == 0, made.stderr
        data = {MIB: noise(3 * MIB), 40 * MIB: noise(9 * MIB)}
        write_sparse(folder / "image", size_bytes=64 * MIB, data=data)

    def words(self, program: str, *arguments: str | Path) -> list[str]:
        return [str(PROGRAMS / program), *map(str, arguments)]

    def run(
        self, program: str, *arguments: str | Path, before: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, *self.words(program, *arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def good(self, program: str, *arguments: str | Path) -> str:
        done = self.run(program, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, *more: str) -> subprocess.CompletedProcess[str]:
        account = ("-u", "123456789012")
        return self.run("imgforge", "bundle", "create", "image", *KEYS, *account, *more)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_bundle_goes_there_and_back_by_imgforges_own_commands(desk: Desk) -> None:
    made = desk.create("--json")
    assert made.returncode == 0, made.stderr
    values = json.loads(made.stdout)
    manifest = values["manifest"]
    assert manifest == "image.bundle/image.manifest.xml"
    assert values["size_bytes"] == 64 * MIB
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert (shown["name"], shown["account"]) == ("image", "123456789012")
    verify = ("imgforge", "bundle", "verify", manifest, *KEYS, "--json")
    assert json.loads(desk.good(*verify))["good"] is True
    edit = ("imgforge", "bundle", "edit", manifest, *KEYS, "-B", "ephemeral1=sdc,ephemeral2=sdd")
    desk.good(*edit)
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert shown["block_device_mapping"] == {"ephemeral1": "sdc", "ephemeral2": "sdd"}
    assert json.loads(desk.good(*verify))["good"] is True
    extract = ("imgforge", "bundle", "extract", manifest, "--key", "private-key.pem", "-o", "back")
    desk.good(*extract)
    assert subprocess.run(["cmp", "image", "back"], cwd=desk.folder, check=False).returncode == 0
    again = desk.run(*extract)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    desk.good(*extract, "--force")
    (desk.folder / "back").unlink()
    local = ("--ec2-key", "data/imgforge/ec2-bundle/key.pem", "--cert", "certificate.pem")
    desk.good("imgforge", "bundle", "extract", manifest, *local, "-o", "back")
    assert subprocess.run(["cmp", "image", "back"], cwd=desk.folder, check=False).returncode == 0


def test_a_damaged_bundle_is_exit_code_1_to_verify_and_2_to_extract(desk: Desk) -> None:
    assert desk.create().returncode == 0
    part = desk.folder / "image.bundle" / "image.part.0"
    content = bytearray(part.read_bytes())
    content[1000] ^= 1
    part.write_bytes(content)
    manifest = "image.bundle/image.manifest.xml"
    found = desk.run("imgforge", "bundle", "verify", manifest, *KEYS)
    assert found.returncode == 1
    assert "not good: part-digest" in found.stdout
    done = desk.run(
        "imgforge", "bundle", "extract", manifest, "-k", "private-key.pem", "-o", "back"
    )
    assert done.returncode == 2
    assert "image.part.0" in done.stderr
    assert not (desk.folder / "back").exists()


def test_the_tools_of_the_guide_work_by_their_names(desk: Desk) -> None:
    """The lines of the guide that need no S3, paths and ids replaced."""
    assert "imgforge" in desk.good("ec2-ami-tools-version")
    (desk.folder / "bundle").mkdir()
    flags = ("-u", "1234-5678-9012", "-r", "x86_64", "-i", "image", "-d", "bundle", "-p", "disk")
    codes = ("--productcodes", "A1,B2", "-B", "ami=sda1,root=/dev/sda1")
    desk.good("ec2-bundle-image", *KEYS, *flags, *codes)
    manifest = "bundle/disk.manifest.xml"
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert shown["product_codes"] == ["A1", "B2"]
    desk.good("ec2-unbundle", "-m", manifest, "--privatekey", "private-key.pem", "-d", "bundle")
    compared = subprocess.run(["cmp", "image", "bundle/disk"], cwd=desk.folder, check=False)
    assert compared.returncode == 0
    twice = desk.run("ec2-unbundle", "-m", manifest, "-k", "private-key.pem", "-d", "bundle")
    assert twice.returncode == 1
    desk.good("imgforge", "bundle", "edit", manifest, *KEYS, "--kernel", "aki-5c21674b")
    migrate = ("ec2-migrate-manifest", "-m", manifest, *KEYS)
    assert "--region" in desk.run(*migrate).stderr
    assert "eu-central-1" in desk.good(*migrate, "--region", "eu-central-1")
    assert (desk.folder / "bundle" / "disk.manifest.xml.bak").is_file()
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert shown["kernel_id"] == "aki-931fe3fc"


@pytest.mark.parametrize(
    "tool",
    [
        "ec2-unbundle",
        "ec2-ami-tools-version",
        pytest.param("ec2-bundle-image", marks=pytest.mark.slow),
        pytest.param("ec2-migrate-manifest", marks=pytest.mark.slow),
    ],
)
def test_each_tool_has_its_help_and_ends_with_1_for_bad_flags(desk: Desk, tool: str) -> None:
    assert tool in desk.good(tool, "--help")
    assert "imgforge" in desk.good(tool, "--version")
    assert desk.run(tool, "--nonsense").returncode == 1


def test_a_bundle_that_is_there_is_replaced_only_by_force(desk: Desk) -> None:
    assert desk.create().returncode == 0
    refused = desk.create()
    assert refused.returncode == 2
    assert "already holds" in refused.stderr
    (desk.folder / "image.bundle" / "image.part.77").write_bytes(b"of an older one")
    assert desk.create("--force").returncode == 0
    names = sorted(path.name for path in (desk.folder / "image.bundle").iterdir())
    assert names == ["image.manifest.xml", "image.part.0", "image.part.1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-u", "12345"), "twelve digits"),
        (("--name", "../image"), "name"),
        (("--arch", "z80"), "allowed"),
        (("-B", "ephemeral0"), "VIRTUAL=DEVICE"),
        (("--ec2cert", "missing.pem"), "missing.pem"),
        (("--kernel", "vmlinuz"), "aki-"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    desk: Desk, words: tuple[str, str], told: str
) -> None:
    done = desk.create(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (desk.folder / "image.bundle").exists()


@pytest.mark.parametrize("kind", ["empty", "large", "folder", "fifo", "missing"])
def test_an_image_that_cannot_be_bundled_is_refused(desk: Desk, kind: str) -> None:
    image = desk.folder / "image"
    image.unlink()
    match kind:
        case "empty":
            image.touch()
        case "large":
            write_sparse(image, size_bytes=10 * 2**30 + 1, data={})
        case "folder":
            image.mkdir()
        case "fifo":
            os.mkfifo(image)
    done = desk.create()
    assert done.returncode == 2
    assert "Image image" in done.stderr
    assert not (desk.folder / "image.bundle").exists()


def small_disk(size: str, place: Path) -> list[str]:
    return ["unshare", "-rm", "sh", "-c", SMALL, "sh", size, str(place)]


def can_mount(place: Path) -> bool:
    attempt = [*small_disk("64k", place), "true"]
    return subprocess.run(attempt, capture_output=True, check=False).returncode == 0


_SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "size", ["5m", pytest.param("100k", marks=_SLOW), pytest.param("11m", marks=_SLOW)]
)
def test_a_full_disk_leaves_neither_bundle_nor_image(desk: Desk, size: str) -> None:
    if not can_mount(desk.folder / "probe"):
        pytest.skip("unprivileged user and mount namespaces are missing here")
    desk.create("--out", "bundle")
    create = desk.words("imgforge", "bundle", "create", "image", *KEYS, "-u", "123456789012")
    manifest = "bundle/image.manifest.xml"
    extract = desk.words("imgforge", "bundle", "extract", manifest, "-k", "private-key.pem")
    place = desk.folder / "small"
    for words in (
        [*create, "--out", str(place)],
        [*create, "--out", str(place / "new")],
        [*extract, "--out", str(place / "image")],
    ):
        done = subprocess.run(
            [*small_disk(size, place), *words],
            cwd=desk.folder,
            env=desk.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert "no space is left" in done.stderr
        assert "left" not in done.stdout


@pytest.mark.parametrize("work", ["create", "extract"])
@pytest.mark.parametrize(
    ("way", "moments"),
    [
        (signal.SIGKILL, 2),
        pytest.param(signal.SIGKILL, 20, marks=_SLOW),
        pytest.param(signal.SIGTERM, 20, marks=_SLOW),
    ],
)
def test_a_kill_at_any_moment_leaves_all_or_nothing(
    desk: Desk, work: str, way: signal.Signals, moments: int
) -> None:
    """Moments that are spread from the start of the program to its end."""
    desk.create("--out", "bundle")
    account = ("-u", "123456789012")
    words: tuple[str, ...]
    if work == "create":
        words = ("create", "image", *KEYS, *account, "--out", "out/new")
        result = desk.folder / "out" / "new" / "image.manifest.xml"
    else:
        manifest = "bundle/image.manifest.xml"
        words = ("extract", manifest, "-k", "private-key.pem", "-o", "out/image")
        result = desk.folder / "out" / "image"
    command = ("imgforge", "bundle", *words)
    started = time.monotonic()
    desk.good(*command)
    whole_s = time.monotonic() - started
    for moment in range(moments):
        shutil.rmtree(desk.folder / "out")
        process = subprocess.Popen(
            desk.words(*command),
            cwd=desk.folder,
            env=desk.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(whole_s * (moment + 1) / (moments + 0.5))
        process.send_signal(way)
        process.wait()
        out = desk.folder / "out"
        there = [path.name for path in out.iterdir()] if out.is_dir() else []
        shown = [name for name in there if not name.startswith(".imgforge-aside-")]
        assert shown in ([], ["new" if work == "create" else "image"])
        if way is signal.SIGTERM:
            assert shown == there
        out.mkdir(exist_ok=True)
        if work == "create" and shown:
            assert len(list(result.parent.glob("image.part.*"))) == 2
            verified = ("imgforge", "bundle", "verify", result, *KEYS)
            desk.good(*verified)
        elif shown:
            assert result.read_bytes() == (desk.folder / "image").read_bytes()
    shutil.rmtree(desk.folder / "out" / "new", ignore_errors=True)
    result.unlink(missing_ok=True)
    desk.good(*command)  # and the next one sweeps what was left
    assert not list((desk.folder / "out").glob(".imgforge-aside-*"))
