"""Files and folders that appear whole or not at all, and what a killed run left is swept."""

import ctypes
import errno
import fcntl
import json
import os
import secrets
import select
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from imgforge.errors import BadInputError, HostError

_LIBC = ctypes.CDLL(None, use_errno=True)
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # fallocate(2)
_ASIDE = ".imgforge-aside-"
_ALIVE = ".alive"
_MOVING = "moving"
_MOVED_AWAY = "moved-away"
_LOCK_PAUSE_S = 0.005
_REMOVALS = 5
_SILENCE_LIMIT_S = 10.0
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def appearing(destination: Path) -> Iterator[Path]:
    """Give a folder aside; put what is made under its "new" in the place of `destination`.

    On a clean exit "new" (a file or a folder) is synced and renamed to `destination`, replacing a
    file that stands there; a folder that stands there already is kept, and the new one dropped.
    After an error, or a kill, nothing appears; what a killed run left is swept by the next. A
    symbolic link is followed. Raises BadInputError for a device, a FIFO or a socket.
    """
    if destination.is_symlink():
        destination = destination.resolve()
    if destination.exists() and not (destination.is_file() or destination.is_dir()):
        raise BadInputError(
            f"File {destination}: is a device, a FIFO or a socket, not a file.",
            hint="Give the path of a file: it appears whole, or not at all.",
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(destination.parent) as aside:
        new = aside / "new"
        yield new
        sync(new)
        if not new.is_dir():
            new.replace(destination)
        elif not _appear_as_folder(new, destination):
            return
        sync_folder(destination.parent)


def _appear_as_folder(new: Path, destination: Path) -> bool:
    """Rename a folder unless one stands there already; tell whether it was renamed."""
    try:
        # An empty one could be replaced without an error, and is no less there.
        if not destination.is_dir():
            new.rename(destination)
            return True
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    return False


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Give a new folder in `parent` that goes away at the end; sweep those of killed runs."""
    # Its name is known before it is there: an interruption may come at any moment.
    folder = parent / f"{_ASIDE}{secrets.token_hex(6)}"
    with ExitStack() as held:
        try:
            with locked_folder(parent):
                sweep(parent)
                folder.mkdir(mode=0o700)
                # Not the folder itself: whoever works in it may lock that.
                descriptor = _open_alive(folder)
                held.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield folder
        finally:
            try:
                _take_away(folder)
            except KeyboardInterrupt:  # there is but one (interruption.py)
                _take_away(folder)
                raise


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of `folder`, waiting for whoever has it; a kill frees it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_within(descriptor: int, kind: int, *, limit_s: float) -> bool:
    """Take a lock of this kind (LOCK_SH, LOCK_EX; flock(2)); tell whether it was had in time.

    It is tried at least once, so 0 seconds wait for nobody.
    """
    end_s = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end_s:
                return False
            time.sleep(_LOCK_PAUSE_S)  # nothing tells when a lock becomes free
        else:
            return True


def _remove(folder: Path) -> None:
    # A thread that an interruption gave up may make one more file there while it is emptied; in a
    # folder that is gone it makes none.
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _take_away(folder: Path) -> None:
    if undo_move(folder):
        _remove(folder)


def sweep(parent: Path, *, remove: Callable[[Path], None] = _remove) -> None:
    """Call `remove` on the aside folders in `parent` that no living process holds locked."""
    for folder in parent.glob(_ASIDE + "*"):
        try:
            descriptor = _open_alive(folder)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if undo_move(folder):
                remove(folder)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)


def move_together(new: Path, destination: Path, *, replaced: Iterable[str], last: str) -> None:
    """Move the files of a folder into `destination`, which is there: all of them, or none.

    `new` is a folder in an aside folder of `destination`; files of the names in `replaced`, and of
    the same names, go away. The file `last` goes first and comes last: with it all is done. What an
    error or a kill left half moved is moved back, where the aside folder goes away or is swept.
    """
    names = sorted(path.name for path in new.iterdir() if path.name != last)
    aside, away = new.parent, new.parent / _MOVED_AWAY
    away.mkdir()
    (aside / "plan").write_text(json.dumps({"new": new.name, "names": [*names, last]}))
    for path in (new, aside / "plan"):
        sync(path)
    (aside / "plan").rename(aside / _MOVING)
    sync_folder(aside)
    for name in dict.fromkeys((last, *names, *replaced)):
        if os.path.lexists(destination / name):
            (destination / name).rename(away / name)
    for name in names:
        (new / name).rename(destination / name)
    sync_folder(destination)
    (new / last).rename(destination / last)
    sync_folder(destination)


def undo_move(aside: Path) -> bool:
    """Move back what `move_together` left half done; tell whether the folder may go away now.

    It can be interrupted and called again. In a folder that all may write to, another user's plan
    is not followed.
    """
    try:
        status = aside.lstat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return True
        plan = json.loads((aside / _MOVING).read_text())
    except (OSError, ValueError):
        return True
    new, away, destination = aside / plan["new"], aside / _MOVED_AWAY, aside.parent
    *names, last = plan["names"]
    if not os.path.lexists(new / last):
        return True  # the last was moved: all is done
    try:
        for name in names:
            if not os.path.lexists(new / name) and os.path.lexists(destination / name):
                (destination / name).rename(new / name)
        for path in sorted(away.iterdir(), key=lambda path: path.name == last):
            path.rename(destination / path.name)
        sync_folder(destination)
    except OSError:
        return False
    return True


def tidy(parent: Path) -> None:
    """Remove what killed runs left in `parent`, where no run need ever make a folder again."""
    if parent.is_dir():
        with locked_folder(parent):
            sweep(parent)


def _open_alive(folder: Path) -> int:
    """Open the lock of an aside folder; never through a symbolic link of its name."""
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(_ALIVE, flags, 0o600, dir_fd=inside)
    finally:
        os.close(inside)


@contextmanager
def told_writing(
    folder: Path, what: str, *, hint: str = "Free some, or name a place elsewhere."
) -> Iterator[None]:
    """Raise HostError for what the file system of `folder` refuses; `what` is to be written there.

    `hint` is for one that is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise HostError(
                f"Folder {folder}: no space is left on its file system for {what}.", hint=hint
            ) from error
        raise HostError(
            f"Folder {folder}: {what} cannot be written there: {error.strerror}."
        ) from error


def read_small(
    what: str, path: Path, *, most_bytes: int, silence_s: float = _SILENCE_LIMIT_S
) -> bytes:
    """Return the first bytes of a file that a person named; `what` is what it is to be.

    Of a FIFO, such as a shell's <(command), each piece is waited for `silence_s`. Raises
    BadInputError.
    """
    content = b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        try:
            while len(content) < most_bytes:
                if not waiting.poll(silence_s * 1000):
                    raise BadInputError(
                        f"{what} {path}: nothing came out of it within {silence_s:g} seconds; it "
                        "is no file, and nobody writes to it."
                    )
                piece = os.read(descriptor, most_bytes - len(content))
                if not piece:
                    break
                content += piece
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadInputError(f"{what} {path}: cannot be read: {error.strerror}.") from None
    return content


def sync(path: Path) -> None:
    """Bring a file, or every file and folder below a folder, to the disk."""
    if path.is_dir():
        # One sync of the file system beats thousands of single ones.
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _LIBC.syncfs(descriptor) != 0:
                raise _errno_error()
        finally:
            os.close(descriptor)
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring a folder's own entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def punch_hole(descriptor: int, position: int, size_bytes: int) -> None:
    """Give back what a part of a file takes; it reads as zeros then (fallocate(2)).

    Raises OSError where the file system knows no holes.
    """
    span = (ctypes.c_int64(position), ctypes.c_int64(size_bytes))
    if _LIBC.fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, *span) != 0:
        raise _errno_error()


def _errno_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
