"""Where results go: what may stand there, and what killed runs left."""

from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from imgforge.files import tidy


class Existing(StrEnum):
    """What to do with files that stand where results go."""

    REFUSE = "refuse"
    REPLACE = "replace"


def tidy_around(destination: Path) -> None:
    """Remove what killed runs left beside a result and in it, where it is a folder.

    Also where the result is there, and making it again is refused.
    """
    for folder in (destination.parent, destination):
        with suppress(OSError):
            tidy(folder)
