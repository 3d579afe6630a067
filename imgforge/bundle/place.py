"""Where results go: told in words when the host cannot take them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from imgforge.errors import HostError

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Existing(StrEnum):
    """What to do with files that stand where results go."""

    REFUSE = "refuse"
    REPLACE = "replace"


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Tell failures of the folder that is written to as what they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise HostError(
                f"Folder {folder}: no space is left on its file system for the result.",
                hint="Free some, or name a place elsewhere.",
            ) from error
        raise HostError(f"Folder {folder}: cannot be written to: {error.strerror}.") from error
