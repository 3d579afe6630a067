import contextlib
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.rootfs.archive import unpack
from imgforge.rootfs.exclusion import exclude
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind

LATEST_S = 1_700_000_000


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def tree(tmp_path: Path) -> PlainTree:
    return PlainTree(tmp_path / "tree", origin="Tar x.tar", mtime_s=7)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_metadata_is_kept_by_the_index(tmp_path: Path, tree: PlainTree, mode: str) -> None:
    path = archive(
        tmp_path / "x.tar",
        (member("bin/su", mode=0o4755, uid=1, gid=2, mtime=LATEST_S + 5), b"su"),
        (member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666), b""),
        (member("bin/sh", tarfile.SYMTYPE, linkname="dash"), b""),
        (member("bin/su2", tarfile.LNKTYPE, linkname="bin/su"), b""),
        (member("pipe", tarfile.FIFOTYPE), b""),
        (
            member("cap", pax_headers={"SCHILY.xattr.security.capability": "\x01\x00\udcff"}),
            b"",
        ),
        mode=mode,
    )
    unpack(path, tree, latest_mtime_s=LATEST_S)
    su = tree.get("bin/su")
    assert su is not None
    assert (su.mode, su.uid, su.gid, su.mtime_s) == (0o4755, 1, 2, LATEST_S)
    null = tree.get("dev/null")
    assert null is not None
    assert (null.kind, null.device) == (EntryKind.CHARACTER_DEVICE, (1, 3))
    assert (tree.folder / "dev/null").stat().st_size == 0
    assert (tree.folder / "bin/sh").readlink() == Path("dash")
    assert (tree.folder / "bin/su").samefile(tree.folder / "bin/su2")
    capable = tree.get("cap")
    assert capable is not None
    assert capable.xattrs == {"security.capability": b"\x01\x00\xff"}


def test_what_is_left_out_leaves_no_empty_folders(tmp_path: Path, tree: PlainTree) -> None:
    path = archive(
        tmp_path / "x.tar",
        (member("doc/a", tarfile.DIRTYPE), b""),
        (member("doc/a/b"), b"x"),
        (member("etc/c"), b"x"),
    )
    unpack(path, tree, excluded=exclude(["/doc/*"]), latest_mtime_s=LATEST_S)
    assert tree.get("doc/a") is None
    assert tree.get("etc/c") is not None


@pytest.mark.parametrize(
    "hostile",
    [
        member("../x"),
        member("a/../../x"),
        member("/etc/passwd"),
        member("a", tarfile.LNKTYPE, linkname="/etc/passwd"),
        member("a", tarfile.LNKTYPE, linkname="../../../etc/passwd"),
        member("a" * 300),
        member("a/" * 3000 + "b"),
        member("a", tarfile.SYMTYPE, linkname="x" * 5000),
        member("a", b"Z"),
        member("a", uid=2**33),
    ],
    ids=lambda info: info.name[:20] + repr(info.type),
)
def test_a_hostile_member_is_refused(
    tmp_path: Path, tree: PlainTree, hostile: tarfile.TarInfo
) -> None:
    path = archive(tmp_path / "x.tar", (hostile, b""))
    with pytest.raises(BadInputError):
        unpack(path, tree, latest_mtime_s=LATEST_S)
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "x.tar"}


def test_a_file_behind_a_symlink_out_of_the_archive_stays_inside(
    tmp_path: Path, tree: PlainTree
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = archive(
        tmp_path / "x.tar",
        (member("way", tarfile.SYMTYPE, linkname=str(outside)), b""),
        (member("way/x"), b"evil"),
    )
    unpack(path, tree, latest_mtime_s=LATEST_S)
    assert list(outside.iterdir()) == []


def garble(data: bytes, seed: int) -> bytes:
    source = random.Random(seed)
    broken = bytearray(data)
    for _ in range(20):
        broken[source.randrange(len(broken))] = source.randrange(256)
    return bytes(broken)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: bytes(range(256)) * 40,
        lambda data: data[:700],
        lambda data: data[:1536],
        lambda data: b"\x1f\x8b" + data,
        lambda data: b"BZh9" + data,
        lambda data: b"\xfd7zXZ\0" + data,
    ],
)
def test_a_damaged_archive_is_refused(
    tmp_path: Path, tree: PlainTree, damage: Callable[[bytes], bytes]
) -> None:
    path = archive(tmp_path / "x.tar", (member("a"), b"x" * 512), (member("b"), b"y" * 900))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadInputError, match=r"Tar x\.tar"):
        unpack(path, tree, latest_mtime_s=LATEST_S)


@pytest.mark.parametrize("seed", range(40))
def test_garbage_in_an_archive_is_refused_or_unpacked_inside(
    tmp_path: Path, tree: PlainTree, seed: int
) -> None:
    path = archive(tmp_path / "x.tar", (member("a"), b"x" * 700), (member("b/c"), b"y" * 900))
    path.write_bytes(garble(path.read_bytes()[:3072], seed) + bytes(2048))
    with contextlib.suppress(BadInputError):
        unpack(path, tree, latest_mtime_s=LATEST_S)
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "x.tar"}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
@pytest.mark.parametrize("numbers", [(2097151, 2097151), (4096, 0), (0, 2**20), (-1, 0)])
def test_a_device_beyond_linuxs_numbers_is_refused_by_name(
    tmp_path: Path, tree: PlainTree, kind: bytes, numbers: tuple[int, int]
) -> None:
    node = member("dev/odd", kind, devmajor=numbers[0], devminor=numbers[1])
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(node)
    with pytest.raises(BadInputError, match=rf"'dev/odd' is the device {numbers[0]}:{numbers[1]}"):
        unpack(tmp_path / "x.tar", tree, latest_mtime_s=LATEST_S)


def test_the_last_device_of_linux_is_taken(tmp_path: Path, tree: PlainTree) -> None:
    node = member("dev/last", tarfile.BLKTYPE, devmajor=4095, devminor=2**20 - 1)
    unpack(archive(tmp_path / "x.tar", (node, b"")), tree, latest_mtime_s=LATEST_S)
    found = tree.get("dev/last")
    assert found is not None
    assert found.device == (4095, 2**20 - 1)
