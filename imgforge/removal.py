"""Which images and snapshots imgforge removed: a second removal is told from a mistyped id.

EC2 says the same of what is gone and of what never was. So each id is written down when its removal
begins, in the user's data folder; where it is found there, the removal that is asked once more is
done already.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from imgforge import host
from imgforge.progress import warn

_MOST_BYTES = 2**20
"""Some 20 000 ids; then the file becomes the older one of two."""


class Missing(StrEnum):
    """What to say of a thing that is not there, and that no removal before is known of."""

    REFUSED = "refused"
    GONE = "gone"


def note_removal(region: str, ids: Sequence[str]) -> None:
    """Write down what is about to be removed; where that cannot be, it is told, and goes on."""
    path, older = _paths()
    lines = "".join(f"{region} {one}\n" for one in ids).encode(errors="replace")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(lines)
            is_full = file.tell() > _MOST_BYTES
        if is_full:
            path.replace(older)
    except OSError as error:
        warn(f"File {path}: cannot be written: {error.strerror}; a second removal will not know it")


def was_removed(region: str, thing: str) -> bool:
    """Tell whether a removal of this id in this region was begun before."""
    line = f"{region} {thing}\n".encode(errors="replace")
    return any(line in _lines(path) for path in _paths())


def _lines(path: Path) -> frozenset[bytes]:
    try:
        return frozenset(path.read_bytes().splitlines(keepends=True))
    except OSError:
        return frozenset()


def _paths() -> tuple[Path, Path]:
    folder = host.data_dir()
    return folder / "removed.txt", folder / "removed.older.txt"
