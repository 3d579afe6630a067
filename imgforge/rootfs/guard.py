"""Run alone (`python guard.py MARK`): when its parent dies, so does everything that has MARK.

Without a process namespace what mmdebstrap starts outlives a killed build. Those processes are
known by MARK, a "NAME=value" that stands in their environment; a new session does not hide them.
"""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def marked(mark: bytes) -> list[int]:
    """Return the ids of living processes, except this one, with `mark` in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:  # gone, or somebody else's
                continue
            if mark in environment.split(b"\0"):
                found.append(int(folder.name))
    return found


def end(mark: bytes) -> None:
    """Kill until none is left: one that is forking may be missed at first."""
    while found := marked(mark):
        for process in found:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)


def main() -> None:
    """Wait for the parent's death, then end what has the mark."""
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == parent:
        # Until now a kill of the parent would have ended this process, too.
        os.write(sys.stderr.fileno(), b"ready\n")
        signal.sigwait({signal.SIGTERM})
    end(os.fsencode(sys.argv[1]))


if __name__ == "__main__":
    main()
