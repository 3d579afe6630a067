"""lzop's format unpacked, by GRUB's own reader of it.

Python has none, and python-lzo's licence, the GPL, is not ours.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from imgforge.command import run
from imgforge.errors import CommandError

_TIMEOUT_S = 60
_CHUNK_BYTES = 2**18
_SIZE_BYTES = 4
_MAGIC = b"\x89LZO"


class LzoDamagedError(Exception):
    """What should be lzop's format is not, or ends too early."""


def unpack_lzo(chunks: Iterator[bytes], *, most_bytes: int) -> Iterator[bytes]:
    """Give what `chunks` hold, unpacked, and no more than `most_bytes` of it.

    All of them are read before the first is given. Raises LzoDamagedError.
    """
    with tempfile.TemporaryDirectory(prefix="imgforge-lzo-") as name:
        packed, plain = Path(name) / "packed", Path(name) / "plain"
        with packed.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        if not _unpack(packed, plain, most_bytes=most_bytes):
            _cut(packed)
            if not _unpack(packed, plain, most_bytes=most_bytes):
                raise LzoDamagedError("GRUB does not unpack it")
        with plain.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk


def _unpack(packed: Path, plain: Path, *, most_bytes: int) -> bool:
    """Let GRUB unpack a file; what it does not take for lzop's it copies as it is."""
    # It wants a disk, too, which is not looked at. -u: files are unpacked.
    words: list[str | Path] = ["-u", "-n", str(most_bytes), packed, "cp", f"(host){packed}", plain]
    try:
        run("grub-fstest", words, timeout_s=_TIMEOUT_S)
    except CommandError as error:
        raise LzoDamagedError(str(error).splitlines()[-1]) from error
    with plain.open("rb") as file:
        return file.read(len(_MAGIC)) != _MAGIC


def _cut(packed: Path) -> None:
    """Take off the size that Linux appends (scripts/Makefile.lib): GRUB would read on there."""
    with packed.open("r+b") as file:
        file.truncate(max(0, packed.stat().st_size - _SIZE_BYTES))
