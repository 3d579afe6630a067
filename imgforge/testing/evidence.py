"""The folder of a test run: what each test's machines showed, kept for those who ask why."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.files import lock_within

_MARKER = ".imgforge-tests"
_NAME_CHARACTERS = 80


def new_folder(root: Path, test: str) -> Path:
    """Make a folder for a machine of a test, told by its pytest node id; no two get the same."""
    readable = re.sub(r"[^\w.-]+", "-", test).strip("-.")[-_NAME_CHARACTERS:].lstrip("-.") or "test"
    name = f"{readable}-{hashlib.sha256(test.encode()).hexdigest()[:6]}"
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


@contextmanager
def evidence_folder(root: Path) -> Iterator[None]:
    """Hold a folder for the evidence of one test run; what an earlier one left in it goes.

    Raises BadInputError for a folder with something else in it, of which nothing is touched, for
    one that another run is using, and for what is no folder.
    """
    names = _names_in(root)
    if names and _MARKER not in names:
        raise BadInputError(
            f"Folder {root}: is no evidence of an earlier test run, and not empty.",
            hint="Name another one with --evidence.",
        )
    descriptor = os.open(root / _MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
            raise BadInputError(
                f"Folder {root}: another test run is using it.",
                hint="Name another one with --evidence.",
            )
        _empty(root)
        yield
    finally:
        os.close(descriptor)


def _names_in(root: Path) -> set[str]:
    """Return the names in a folder, made if it is not there."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        return {path.name for path in root.iterdir()}
    except (FileExistsError, NotADirectoryError):
        found = next(path for path in (root, *root.parents) if path.exists())
        problem = f"{found} is a file" if found != root else "is a file"
    except OSError as error:
        problem = f"cannot be used: {(error.strerror or 'for no reason told').lower()}"
    raise BadInputError(
        f"Folder {root}: {problem}.", hint="Name another one with --evidence."
    ) from None


def _empty(root: Path) -> None:
    for path in root.iterdir():
        if path.name == _MARKER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
