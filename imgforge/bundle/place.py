"""Where results go: told in words when the host cannot take them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from imgforge.errors import HostError
from imgforge.files import tidy

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Existing(StrEnum):
    """What to do with files that stand where results go."""

    REFUSE = "refuse"
    REPLACE = "replace"


@contextmanager
def told(folder: Path, what: str) -> Iterator[None]:
    """Tell failures of the folder that is written to as what they are; `what` goes there."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise HostError(
                f"Folder {folder}: no space is left on its file system for {what}.",
                hint="Free some, or name a place elsewhere.",
            ) from error
        raise HostError(
            f"Folder {folder}: {what} cannot be written there: {error.strerror}."
        ) from error


def tidy_around(destination: Path) -> None:
    """Remove what killed runs left beside a result and in it, where it is a folder.

    Also where the result is there, and making it again is refused.
    """
    for folder in (destination.parent, destination):
        with suppress(OSError):
            tidy(folder)
