"""The tar in a bundle: written from an image, read without trusting it."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.bundle.problem import BundleError
from imgforge.bundle.stream import Stream
from imgforge.bundle.tar_reader import read_data, read_member
from imgforge.bundle.tar_writer import RECORD_BYTES, plan_tar, write_tar
from tests.bundle_material import noise, write_sparse


def packed(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        plan = plan_tar(descriptor, name="image")
        content = b"".join(write_tar(descriptor, plan))
        assert len(content) == plan.size_bytes
        return content
    finally:
        os.close(descriptor)


def chunks(content: bytes, size_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(content), size_bytes):
        yield content[start : start + size_bytes]


def unpacked(content: bytes, size_bytes: int, *, chunk_bytes: int = 1000) -> bytes:
    stream = Stream(chunks(content, chunk_bytes), limit_bytes=2**30)
    member = read_member(stream, size_bytes=size_bytes)
    image = bytearray(size_bytes)
    for offset_bytes, piece in read_data(stream, member):
        image[offset_bytes : offset_bytes + len(piece)] = piece
    return bytes(image)


def tar_of(*members: tarfile.TarInfo, content: bytes = b"x" * 10) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def member(
    name: str = "image", *, kind: bytes = tarfile.REGTYPE, size: int = 10
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info


def refused(content: bytes, size_bytes: int = 10) -> str:
    with pytest.raises(BundleError) as caught:
        unpacked(content, size_bytes)
    assert caught.value.check == "tar"
    return str(caught.value)


@pytest.mark.parametrize("size_bytes", [1, 511, 512, 513, 4096, 3 * 2**20 + 1])
def test_a_file_without_holes_comes_back(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "image"
    path.write_bytes(noise(size_bytes))
    content = packed(path)
    assert len(content) % RECORD_BYTES == 0
    assert unpacked(content, size_bytes) == path.read_bytes()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 25, 26, 60])
def test_a_file_with_holes_comes_back_and_its_holes_are_not_in_the_tar(
    tmp_path: Path, count: int
) -> None:
    data = {2 * number * 65536: noise(4096, seed=number) for number in range(1, count + 1)}
    path = write_sparse(tmp_path / "image", size_bytes=8 * 2**20 + 5, data=data)
    content = packed(path)
    assert len(content) < 4096 * count + 4 * RECORD_BYTES
    assert unpacked(content, 8 * 2**20 + 5, chunk_bytes=4096) == path.read_bytes()


def test_sizes_beyond_octal_digits_are_kept(tmp_path: Path) -> None:
    size_bytes = 9 * 2**30
    path = write_sparse(tmp_path / "image", size_bytes=size_bytes, data={size_bytes - 4096: b"end"})
    stream = Stream(iter([packed(path)]), limit_bytes=2**30)
    read = read_member(stream, size_bytes=size_bytes)
    assert read.size_bytes == size_bytes
    [(offset_bytes, piece)] = read_data(stream, read)
    assert (offset_bytes, bytes(piece[:3])) == (size_bytes - 4096, b"end")


def test_a_chunk_of_any_size_gives_the_same(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "image", size_bytes=300_000, data={8192: noise(5000)})
    content = packed(path)
    for chunk_bytes in (1, 7, 512, 513, 100_000):
        assert unpacked(content, 300_000, chunk_bytes=chunk_bytes) == path.read_bytes()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_plain_tars_of_others_are_read(form: int) -> None:
    file = io.BytesIO()
    info = member(size=1000)
    info.pax_headers = {"comment": "x" * 300} if form == tarfile.PAX_FORMAT else {}
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        tar.addfile(info, io.BytesIO(noise(1000)))
    assert unpacked(file.getvalue(), 1000) == noise(1000)


@pytest.mark.parametrize(
    "name", ["../image", "/etc/passwd", "a/b", "..", ".hidden", "a;b", "$(x)", "é", "-rf"]
)
def test_names_that_are_no_plain_file_names_are_refused(name: str) -> None:
    assert "named" in refused(tar_of(member(name)))


def test_a_path_in_an_extended_header_is_refused() -> None:
    file = io.BytesIO()
    info = member()
    info.pax_headers = {"path": "../../x"}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"x" * 10))
    assert "named" in refused(file.getvalue())
    assert "named" in refused(tar_of(member("../" * 60 + "x")))  # GNU's long name


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.DIRTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        b"K",
        b"V",
        b"M",
    ],
)
def test_all_but_a_file_is_refused(kind: bytes) -> None:
    info = member(kind=kind, size=0)
    info.linkname = "/etc/passwd"
    assert "type" in refused(tar_of(info, content=b""))


@pytest.mark.parametrize(
    "records",
    [
        b"12 path=abc\n\0",
        b"12 path=abc\n0 x=y\n",
        b"99 path=abc\n",
        b"12 path abc\n",
        b"path=abc\n",
    ],
)
def test_damaged_extended_headers_are_refused(records: bytes) -> None:
    content = tar_of(member(kind=b"x", size=len(records)), content=records)[:1024]
    assert "extended header" in refused(content + tar_of(member()))


def test_several_members_are_refused() -> None:
    assert "another member" in refused(tar_of(member(), member("second")))


def test_what_follows_the_end_is_refused() -> None:
    content = tar_of(member())
    assert "something follows" in refused(content + b"hidden")
    assert "goes on" in refused(content + bytes(3 * 2**20))


def test_another_size_than_the_manifests_is_refused() -> None:
    assert "10 bytes, the manifest says 11" in refused(tar_of(member()), 11)


def test_a_bomb_of_holes_is_refused(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "image", size_bytes=10 * 2**40, data={0: b"x"})
    assert f"{10 * 2**40} bytes" in refused(packed(path), 10 * 2**20)


@pytest.mark.parametrize("numbers", [(5, 6), (20, 1), (0, 11)])
def test_maps_that_overlap_or_go_beyond_the_end_are_refused(numbers: tuple[int, int]) -> None:
    info = member()
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:434] = b"".join(b"%011o\0" % number for number in (0, 6, *numbers))
    header[483:495] = b"%011o\0" % 10
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert "sparse map" in refused(bytes(header) + bytes(1024))


def test_every_cut_is_refused(tmp_path: Path) -> None:
    path = write_sparse(
        tmp_path / "image", size_bytes=2**21, data={131072 * n: b"x" * 512 for n in range(8)}
    )
    content = packed(path)
    end = len(content.rstrip(b"\0"))
    for cut in range(0, end, 97):
        with pytest.raises(BundleError):
            unpacked(content[:cut], 2**21, chunk_bytes=4096)


def test_garbage_is_refused() -> None:
    for seed in range(200):
        assert refused(noise(2048, seed=seed))


def test_a_stream_is_refused_beyond_its_limit() -> None:
    stream = Stream(iter([tar_of(member())]), limit_bytes=2000)
    with pytest.raises(BundleError, match="longer"):
        read_member(stream, size_bytes=10)
