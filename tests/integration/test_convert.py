"""convert_disk with the real qemu-img."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgforge.convert import Artifact, ArtifactFormat, Existing, convert_disk
from imgforge.disk import Disk
from imgforge.errors import BadInputError, CommandError, HostError

MIB = 2**20
_ON_SMALL_TMPFS = 'mkdir -p "$1" && mount -t tmpfs -o size=4m tmpfs "$1" && shift && exec "$@"'


def make_disk(path: Path, *, size_bytes: int = 64 * MIB, data_bytes: int = MIB) -> Disk:
    """Make a sparse disk with random data in its middle and at its very end."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
        file.seek(size_bytes // 2)
        file.write(os.urandom(data_bytes))
        file.seek(size_bytes - 512)
        file.write(os.urandom(512))
    return as_disk(path)


def as_disk(path: Path) -> Disk:
    content = path.read_bytes()
    return Disk(path=path, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def read_back(artifact: Artifact, folder: Path) -> bytes:
    back = folder / "back.raw"
    source_format = artifact.format.qemu_name
    subprocess.run(
        ["qemu-img", "convert", "-f", source_format, "-O", "raw", artifact.path, back], check=True
    )
    return back.read_bytes()


def allocated_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("to", ArtifactFormat)
def test_every_format_holds_the_disk_and_stays_sparse(tmp_path: Path, to: ArtifactFormat) -> None:
    disk = make_disk(tmp_path / "d.raw")
    before = disk.path.stat()
    artifact = convert_disk(disk, to=to, destination=tmp_path / "out" / f"d.{to}")
    assert read_back(artifact, tmp_path) == disk.path.read_bytes()
    assert artifact.sha256 == hashlib.sha256(artifact.path.read_bytes()).hexdigest()
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert (artifact.virtual_size_bytes, artifact.disk_sha256) == (64 * MIB, disk.sha256)
    assert allocated_bytes(artifact.path) < 8 * MIB
    assert [entry.name for entry in artifact.path.parent.iterdir()] == [f"d.{to}"]
    assert disk.path.stat() == before or disk.path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("to", ArtifactFormat)
def test_the_same_disk_gives_the_same_bytes(tmp_path: Path, to: ArtifactFormat) -> None:
    disk = make_disk(tmp_path / "d.raw")
    first = convert_disk(disk, to=to, destination=tmp_path / "one" / "d.out")
    second = convert_disk(disk, to=to, destination=tmp_path / "two" / "d.out")
    assert first.sha256 == second.sha256


def test_a_pinned_vhd_is_still_whole(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    artifact = convert_disk(disk, to=ArtifactFormat.VHD, destination=tmp_path / "d.vhd")
    info = subprocess.run(
        ["qemu-img", "info", "-f", "vpc", "--output=json", artifact.path],
        check=True,
        capture_output=True,
    )
    assert json.loads(info.stdout)["virtual-size"] == disk.size_bytes
    assert info.stderr == b""  # where qemu-img would complain of a checksum


def test_a_vhd_is_not_rounded_to_a_geometry(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw", size_bytes=37 * MIB + 512)
    artifact = convert_disk(disk, to=ArtifactFormat.VHD, destination=tmp_path / "d.vhd")
    assert len(read_back(artifact, tmp_path)) == 37 * MIB + 512


@pytest.mark.parametrize("to", ArtifactFormat)
def test_a_disk_that_starts_like_a_qcow2_reads_no_file_of_the_host(
    tmp_path: Path, to: ArtifactFormat
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"the host's own secret".ljust(MIB, b"!"))
    hostile = tmp_path / "hostile.raw"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", hostile], check=True
    )
    hostile.open("ab").truncate(2 * MIB)
    artifact = convert_disk(as_disk(hostile), to=to, destination=tmp_path / "out" / "a")
    content = read_back(artifact, tmp_path)
    assert content == hostile.read_bytes()
    assert b"the host's own secret" not in content


def test_costs_by_the_data_not_by_the_size(tmp_path: Path) -> None:
    path = tmp_path / "big.raw"
    with path.open("wb") as file:
        file.truncate(2**40)  # reading 1 TiB of zeros would take minutes
        file.write(os.urandom(MIB))
    disk = Disk(path=path, sha256="ab" * 32, size_bytes=2**40)
    for to in (ArtifactFormat.RAW, ArtifactFormat.QCOW2):
        artifact = convert_disk(disk, to=to, destination=tmp_path / f"big.{to}.out")
        assert allocated_bytes(artifact.path) < 8 * MIB


def test_refuses_an_existing_destination_unless_told_to_replace_it(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    destination = tmp_path / "d.qcow2"
    destination.write_bytes(b"precious")
    with pytest.raises(BadInputError, match="already exists"):
        convert_disk(disk, to=ArtifactFormat.QCOW2, destination=destination)
    assert destination.read_bytes() == b"precious"
    artifact = convert_disk(
        disk, to=ArtifactFormat.QCOW2, destination=destination, existing=Existing.REPLACE
    )
    assert read_back(artifact, tmp_path) == disk.path.read_bytes()


@pytest.mark.parametrize("alias", ["d.raw", "link.raw", "hard.raw"])
def test_never_replaces_the_disk_itself(tmp_path: Path, alias: str) -> None:
    disk = make_disk(tmp_path / "d.raw")
    (tmp_path / "link.raw").symlink_to(disk.path)
    (tmp_path / "hard.raw").hardlink_to(disk.path)
    with pytest.raises(BadInputError, match="the disk itself"):
        convert_disk(
            disk,
            to=ArtifactFormat.RAW,
            destination=tmp_path / alias,
            existing=Existing.REPLACE,
        )
    assert as_disk(disk.path) == disk


def test_refuses_a_folder_as_destination(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    with pytest.raises(BadInputError, match="a folder stands there"):
        convert_disk(disk, to=ArtifactFormat.RAW, destination=tmp_path, existing=Existing.REPLACE)


def test_refuses_what_is_no_disk(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_bytes(bytes(1000))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "grown").write_bytes(bytes(2048))
    reasons = {
        ".": "is a folder",
        "empty": "is empty",
        "odd": "512-byte sectors",
        "fifo": "not a regular file",
        "missing": "No such file",
        "grown": "It changed since then",
    }
    for name, reason in reasons.items():
        disk = Disk(path=tmp_path / name, sha256="ab" * 32, size_bytes=1024)
        with pytest.raises(BadInputError, match=reason):
            convert_disk(disk, to=ArtifactFormat.QCOW2, destination=tmp_path / "out" / "x")
    assert not (tmp_path / "out").exists()


def test_refuses_a_disk_larger_than_a_vhd_can_be(tmp_path: Path) -> None:
    path = tmp_path / "big.raw"
    path.touch()
    os.truncate(path, 2041 * 2**30)
    disk = Disk(path=path, sha256="ab" * 32, size_bytes=2041 * 2**30)
    with pytest.raises(BadInputError, match="holds at most 2040"):
        convert_disk(disk, to=ArtifactFormat.VHD, destination=tmp_path / "big.vhd")


def test_names_that_qemu_img_takes_for_something_else_are_just_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    disk = make_disk(Path("nbd:host,file=x 1.raw"))
    artifact = convert_disk(
        disk, to=ArtifactFormat.QCOW2, destination=Path("json:{}, 'é' \"out\".qcow2")
    )
    assert artifact.path.is_file()


def test_a_failing_qemu_img_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bin" / "qemu-img"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\nfor last; do :; done\necho half >"$last"\necho broken >&2\nexit 1\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    disk = make_disk(tmp_path / "d.raw")
    out = tmp_path / "out"
    with pytest.raises(CommandError, match="broken"):
        convert_disk(disk, to=ArtifactFormat.QCOW2, destination=out / "d.qcow2")
    assert list(out.iterdir()) == []


def test_an_artifact_with_other_data_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "qemu-img"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/sh\n/usr/bin/qemu-img "$@" || exit\n'
        'for last; do :; done\nif [ "$1" = convert ]; then printf X | dd of="$last" '
        "bs=1 seek=1000000 conv=notrunc status=none; fi\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    disk = make_disk(tmp_path / "d.raw")
    with pytest.raises(HostError, match="does not hold the same data"):
        convert_disk(disk, to=ArtifactFormat.RAW, destination=tmp_path / "out" / "d.raw")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw")
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"file/out: the converted disk cannot be written there"):
        convert_disk(disk, to=ArtifactFormat.RAW, destination=tmp_path / "file" / "out" / "d")


def test_a_full_file_system_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "d.raw", data_bytes=8 * MIB)
    folder = tmp_path / "small"
    script = f"""
from pathlib import Path
from imgforge.convert import ArtifactFormat, convert_disk
from imgforge.disk import Disk
from imgforge.errors import HostError
disk = Disk(path=Path({str(disk.path)!r}), sha256={disk.sha256!r}, size_bytes={disk.size_bytes})
folder = Path({str(folder)!r})
for to in ArtifactFormat:
    try:
        convert_disk(disk, to=to, destination=folder / "d.out")
    except HostError as error:
        assert "no space is left" in str(error) and str(folder) in str(error), error
    else:
        raise SystemExit("it fitted")
    assert list(folder.iterdir()) == [], list(folder.iterdir())
print("told")
"""
    ended = run_on_small_tmpfs(folder, script)
    assert ended.stdout == "told\n", ended.stderr


def run_on_small_tmpfs(folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    shell = ["unshare", "-Urm", "sh", "-c", _ON_SMALL_TMPFS, "sh", str(folder)]
    if subprocess.run([*shell, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    command = [*shell, sys.executable, "-c", script]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
