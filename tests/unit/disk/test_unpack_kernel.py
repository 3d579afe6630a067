"""The ELF inside a kernel file is had whole, or not at all."""

import lzma
from pathlib import Path

import pytest

from imgforge.disk import unpack_kernel
from tests.kernel_files import PACKERS, make_bzimage, make_elf

UNPACKED = sorted(set(PACKERS) - {"lz4", "zstd"})


@pytest.mark.parametrize("name", UNPACKED)
@pytest.mark.parametrize("wrap", [make_bzimage, bytes])
def test_what_a_kernel_holds_is_had_byte_for_byte(tmp_path: Path, name: str, wrap: type) -> None:
    elf = make_elf(padding=3 * 2**20)
    (tmp_path / "k").write_bytes(wrap(PACKERS[name](elf)))
    assert unpack_kernel(tmp_path / "k", tmp_path / "out")
    assert (tmp_path / "out").read_bytes().startswith(elf)


@pytest.mark.parametrize("name", ["lz4", "zstd"])
def test_what_nothing_here_unpacks_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "k").write_bytes(make_bzimage(PACKERS[name](make_elf())))
    assert not unpack_kernel(tmp_path / "k", tmp_path / "out")


@pytest.mark.parametrize("name", [name for name in UNPACKED if name not in {"none", "gzip", "lzo"}])
def test_damage_is_told(tmp_path: Path, name: str) -> None:
    packed = bytearray(PACKERS[name](make_elf(padding=2**16)))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = bytes(64)
    (tmp_path / "k").write_bytes(make_bzimage(bytes(packed)))
    assert not unpack_kernel(tmp_path / "k", tmp_path / "out")


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(4096), b"HdrS" * 300])
def test_what_is_no_kernel_does_no_harm(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "k").write_bytes(data)
    assert unpack_kernel(tmp_path / "k", tmp_path / "out") is data.startswith(b"\x7fELF")


def test_a_payload_that_is_no_elf_is_told(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(make_bzimage(lzma.compress(b"something else" * 1000)))
    assert not unpack_kernel(tmp_path / "k", tmp_path / "out")
