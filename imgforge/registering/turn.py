"""One run at a time does the same work: whoever comes second waits, and finds it done."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from imgforge import host
from imgforge.errors import HostError
from imgforge.files import lock_within, told_writing
from imgforge.progress import report

_FOLDER = "registrations"
_LIMIT_S = 6 * 3600.0


@contextmanager
def turn(work: str, *, what: str) -> Iterator[None]:
    """Hold the lock of a work, by its digest; a kill frees it. Raises HostError after six hours.

    `what` is the object, as "Image 'x'". Another host is not kept out: EC2 itself lets nobody
    register a name twice.
    """
    folder = host.data_dir() / _FOLDER
    with told_writing(folder, "the lock of a registration"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Few files, that are never taken away: another work's lock is waited for now and then.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / f"{work[:2]}.lock", flags, 0o600)
    try:
        if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0):
            report(f"{what}: another run works on it, waiting for that")
            if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=_LIMIT_S):
                raise HostError(
                    f"{what}: another run has worked on it for {_LIMIT_S:g} s.",
                    hint="Look for it with ps; end it, and run this again.",
                )
        yield
    finally:
        os.close(descriptor)
