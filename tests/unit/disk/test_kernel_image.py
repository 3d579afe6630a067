"""What a kernel file is, and what it only claims to be."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgforge.disk.kernel_image import (
    Container,
    XenNote,
    examine_kernel,
    recognise_kernel,
)
from imgforge.disk.kernel_payload import MOST_UNPACKED_BYTES, Compression
from tests.kernel_files import make_bzimage, make_elf

PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
    Compression.LZMA: lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("compression", list(PACKERS))
def test_a_bzimage_is_unpacked_as_far_as_its_notes(
    tmp_path: Path, compression: Compression, bits: int
) -> None:
    path = tmp_path / "k"
    path.write_bytes(make_bzimage(PACKERS[compression](make_elf(bits=bits)), bits=bits))
    image = examine_kernel(path)
    assert image is not None
    assert (image.container, image.compression) == (Container.BZIMAGE, compression)
    assert (image.bits, image.is_for_xen_pv, image.damage) == (bits, True, "")
    assert image.xen_notes == frozenset({XenNote.ENTRY, XenNote.GUEST_OS})


@pytest.mark.parametrize("compression", list(PACKERS))
def test_a_bare_elf_is_a_kernel_too(tmp_path: Path, compression: Compression) -> None:
    path = tmp_path / "k"
    path.write_bytes(PACKERS[compression](make_elf(notes=(18,))))
    image = examine_kernel(path)
    assert image is not None
    assert image.is_for_xen_pv is False
    assert image.xen_notes == frozenset({XenNote.PHYS32_ENTRY})


@pytest.mark.parametrize(
    ("magic", "compression"),
    [(b"\x02\x21\x4c\x18", "lz4"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x89LZO", "lzo")],
)
def test_what_cannot_be_unpacked_here_is_known_by_its_name(
    tmp_path: Path, magic: bytes, compression: str
) -> None:
    path = tmp_path / "k"
    path.write_bytes(make_bzimage(magic + bytes(100), bits=32))
    image = examine_kernel(path)
    assert image is not None
    assert (image.compression, image.bits, image.xen_notes) == (compression, 32, None)


@pytest.mark.parametrize(
    "content", [b"", b"hello", bytes(5000), gzip.compress(b"text" * 99, mtime=0)]
)
def test_what_is_no_kernel_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    assert examine_kernel(path) is None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", list(PACKERS))
def test_a_kernel_cut_short_says_so(tmp_path: Path, compression: Compression, share: float) -> None:
    whole = make_bzimage(PACKERS[compression](make_elf(padding=50_000)))
    path = tmp_path / "k"
    path.write_bytes(whole[: int(len(whole) * share)])
    image = examine_kernel(path)
    assert image is not None
    assert image.damage


@pytest.mark.parametrize("pack", list(PACKERS.values())[1:4])
def test_a_bomb_is_not_unpacked(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "k"
    elf = make_elf(notes_at=MOST_UNPACKED_BYTES + 1, is_short=True)
    path.write_bytes(make_bzimage(pack(elf + bytes(2**26))))
    image = examine_kernel(path)
    assert image is not None
    assert "points to byte" in image.damage


def test_headers_that_lie_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "k"
    for place, value in ((32, 2**63), (54, 0xFFFF), (56, 0xFFFF), (64 + 32, 2**40)):
        elf = bytearray(make_elf())
        struct.pack_into("<Q" if value > 0xFFFF else "<H", elf, place, value)
        path.write_bytes(elf)
        image = examine_kernel(path)
        assert image is not None
        assert image.damage


@given(
    st.sampled_from(
        [make_elf(), make_bzimage(gzip.compress(make_elf())), lzma.compress(make_elf())]
    ),
    st.lists(st.tuples(st.integers(0, 1100), st.integers(0, 255)), max_size=12),
    st.integers(0, 5000),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory,
    kernel: bytes,
    changes: list[tuple[int, int]],
    length: int,
) -> None:
    data = bytearray(kernel)
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "hostile-kernel"
    path.write_bytes(data[:length])
    examine_kernel(path)
    recognise_kernel(path)
