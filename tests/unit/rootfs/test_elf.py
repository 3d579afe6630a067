"""What an ELF program needs is read without believing anything it says."""

import struct
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from imgforge.rootfs.elf import needed_libraries


def test_a_program_names_the_c_library() -> None:
    assert "libc.so.6" in needed_libraries(Path("/bin/sh").resolve().read_bytes())


def test_a_library_names_what_it_needs_in_its_order() -> None:
    needed = needed_libraries(Path(sys.executable).resolve().read_bytes())
    assert needed == list(dict.fromkeys(needed))
    assert all(name.isascii() for name in needed)


def test_a_static_program_needs_nothing() -> None:
    header = b"\x7fELF\x02\x01".ljust(32, b"\0") + struct.pack("<Q", 64).ljust(32, b"\0")
    assert needed_libraries(header) == []


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01"])
def test_what_is_no_such_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="ELF file"):
        needed_libraries(content)


def test_a_file_cut_anywhere_gives_names_or_a_refusal() -> None:
    whole = Path("/bin/sh").resolve().read_bytes()
    for size in range(0, min(len(whole), 4096), 7):
        with suppress(ValueError):
            needed_libraries(whole[:size])


def test_lying_headers_are_refused_in_time() -> None:
    whole = bytearray(Path("/bin/sh").resolve().read_bytes())
    for place in range(32, 64):
        changed = whole.copy()
        changed[place] ^= 0xFF
        with suppress(ValueError):
            needed_libraries(bytes(changed))
