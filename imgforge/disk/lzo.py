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
        # It wants a disk, too, which is not looked at. -u: files are unpacked.
        words: list[str | Path] = [
            "-u",
            "-n",
            str(most_bytes),
            packed,
            "cp",
            f"(host){packed}",
            plain,
        ]
        try:
            run("grub-fstest", words, timeout_s=_TIMEOUT_S)
        except CommandError as error:
            raise LzoDamagedError(str(error).splitlines()[-1]) from error
        with plain.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
