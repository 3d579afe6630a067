"""Places for machines: memory and processors, reserved across all processes of this user.

Whoever is about to start a machine takes a place first, and waits where the host cannot give one.
A place is a file in a folder of this user's alone, locked (flock(2)) for as long as it is held:
a holder that is killed leaves its place at once, and there is no ledger that could be stale.
First come, first served: nobody who waits is overtaken.

The rule of who fits is `find_obstacle`.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from imgforge import host
from imgforge.errors import HostError
from imgforge.files import lock_within
from imgforge.progress import report

_PLACE = re.compile(r"([0-9]{12})-[0-9a-f]{8}")
_MOST_BYTES = 4096  # of a place's file
# Nothing tells when a lock of another process, or memory, becomes free.
_PAUSE_S = 0.2
# The folder's own lock is held for milliseconds, unless its holder was stopped.
_LOOK_LIMIT_S = 0.2


@dataclass(frozen=True, slots=True)
class Place:
    """What one machine takes: asked for in the order of `ticket`, `held` once it was given.

    `process` is the id of the process that asked; its machine runs below it.
    """

    ticket: int
    process: int
    memory_bytes: int
    processors: int
    held: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What the host gives: memory in all, memory now, processors.

    `used_bytes` is what the machines of each process that holds places take already.
    """

    total_bytes: int
    available_bytes: int
    processors: int
    used_bytes: dict[int, int]


def machines_at_a_time(memory_bytes: int) -> int:
    """Return how many machines of `memory_bytes` each fit: a processor each; at least one."""
    return max(1, min(host.cpu_count(), host.memory().available_bytes // memory_bytes))


def find_obstacle(wish: Place, others: Sequence[Place], offer: Offer) -> str:
    """Return why `wish` cannot have its place beside the living `others`, or "" where it can.

    - Nobody who came earlier still waits.
    - Where nobody holds a place, one is always given.
    - All memory held, and this, is within the host's total (MemTotal, or the limit of a control
      group).
    - This, and what is held but not used yet, is within what is available now (MemAvailable, or
      what a control group's limit leaves). A machine takes its memory little by little; what the
      programs below a holder take by themselves is used already.
    - All processors held, and these, are within the host's. A place may ask for none.
    """
    holders = [place for place in others if place.held]
    if not holders and not any(place.ticket < wish.ticket for place in others):
        return ""
    ahead = sum(not place.held and place.ticket < wish.ticket for place in others)
    if ahead:
        return f"{ahead} asked earlier and wait, too"
    held_bytes = sum(place.memory_bytes for place in holders)
    machines = f"{len(holders)} place{'s' if len(holders) > 1 else ''} held"
    if held_bytes + wish.memory_bytes > offer.total_bytes:
        return f"{machines}, with {_mib(held_bytes)} of {_mib(offer.total_bytes)} memory in all"
    unused_bytes = _unused(holders, offer.used_bytes)
    if unused_bytes + wish.memory_bytes > offer.available_bytes:
        return (
            f"{machines}, with {_mib(unused_bytes)} still to be taken of the "
            f"{_mib(offer.available_bytes)} memory available"
        )
    busy = sum(place.processors for place in holders)
    if wish.processors and busy + wish.processors > offer.processors:
        return f"{machines}, with {busy} of {offer.processors} processors"
    return ""


def _unused(holders: Sequence[Place], used_bytes: dict[int, int]) -> int:
    """Return the memory that was given to `holders` and that they have not taken yet."""
    given: dict[int, int] = {}
    for place in holders:
        given[place.process] = given.get(place.process, 0) + place.memory_bytes
    return sum(max(0, size - used_bytes.get(process, 0)) for process, size in given.items())


def reserve(
    *, memory_bytes: int, limit_s: float, processors: int = 1, folder: Path | None = None
) -> "Reservation":
    """Return a context manager, for `with` and for `async with`, that holds a machine's place.

    Entering waits, at most `limit_s` seconds, until the place is given; the loop goes on
    meanwhile. `processors` may be 0: then only memory counts. Whoever already holds a place and
    waits for one more can wait for one who does the same: such a one asks for 0 processors, or for
    all it needs at once. Entering raises HostError where `limit_s` has passed, or where `folder`
    (by default one in the runtime folder) is not this user's alone.
    """
    if memory_bytes < 0 or processors < 0:
        raise ValueError(f"A place of {memory_bytes} bytes and {processors} processors")
    wanted = Place(
        ticket=0,
        process=os.getpid(),
        memory_bytes=memory_bytes,
        processors=processors,
        held=False,
    )
    return Reservation(wanted, limit_s=limit_s, folder=folder or places_folder())


def places_folder() -> Path:
    """Return the folder of this user's places."""
    return host.runtime_parent() / f"imgforge-places-{os.geteuid()}"


class Reservation:
    """A place that is held from entering to leaving; made by `reserve`, entered once."""

    def __init__(self, wanted: Place, *, limit_s: float, folder: Path) -> None:
        self._queue = _Queue(wanted, folder)
        self._limit_s = limit_s

    def __enter__(self) -> Self:
        wait = _Wait(end_s=time.monotonic() + self._limit_s)
        try:
            while not self._take(wait):
                time.sleep(_PAUSE_S)
        except BaseException:
            self._queue.leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.leave()

    async def __aenter__(self) -> Self:
        wait = _Wait(end_s=time.monotonic() + self._limit_s)
        try:
            while True:
                if await asyncio.to_thread(self._take, wait):
                    return self
                await asyncio.sleep(_PAUSE_S)
        except BaseException:
            self._queue.leave()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.leave()

    def _take(self, wait: "_Wait") -> bool:
        """Ask once; tell whether the place is ours. Report the first time that it is not."""
        obstacle = self._queue.ask()
        if not obstacle:
            return True
        wanted = self._queue.wanted
        need = f"{_mib(wanted.memory_bytes)} of memory"
        if wanted.processors:
            need += f" and {wanted.processors} processor{'s' if wanted.processors > 1 else ''}"
        if time.monotonic() >= wait.end_s:
            raise HostError(
                f"No place for a machine within {self._limit_s:g} s: it needs {need}; {obstacle}"
                f"{self._queue.tell_others()}.",
                hint="Wait for what else runs, end it, or start fewer machines at a time.",
            )
        if not wait.told:
            report(f"waiting for a place: {need}; {obstacle}")
            wait.told = True
        return False


@dataclass(slots=True)
class _Wait:
    """How long a reservation may still wait, and whether it said so."""

    end_s: float
    told: bool = False


class _Queue:
    """One place in the folder of places: a file that is locked while its owner lives."""

    def __init__(self, wanted: Place, folder: Path) -> None:
        self.wanted = wanted
        self._folder = folder
        self._name = ""
        self._file = -1
        self._others: list[Place] = []
        self._left = False
        self._own = threading.Lock()  # a cancelled task leaves while its thread still asks

    def ask(self) -> str:
        """Take the place where it can be had; return "" then, and what is in the way otherwise."""
        with self._own, _opened(self._folder) as folder:
            if self._left:
                return "the place was given up"
            if not lock_within(folder, fcntl.LOCK_EX, limit_s=_LOOK_LIMIT_S):
                return "another process keeps the folder of places locked"
            if self._file < 0:
                self._line_up(folder)
            self._others = [place for name, place in _living(folder) if name != self._name]
            obstacle = find_obstacle(self.wanted, self._others, _offer(self._others))
            if not obstacle:
                self._write(held=True)
            return obstacle

    def tell_others(self) -> str:
        """Return the processes that hold places, in words."""
        holders = sorted({place.process for place in self._others if place.held})
        return f" (by process {', '.join(map(str, holders))})" if holders else ""

    def leave(self) -> None:
        """Give the place up, taken or not."""
        with self._own:
            self._left = True
            if self._file < 0:
                return
            with contextlib.suppress(OSError, HostError), _opened(self._folder) as folder:
                os.unlink(self._name, dir_fd=folder)
            os.close(self._file)
            self._file = -1

    def _line_up(self, folder: int) -> None:
        tickets = [place.ticket for _, place in _living(folder)]
        ticket = max(tickets, default=0) + 1
        self._name = f"{ticket:012d}-{secrets.token_hex(4)}"
        self._file = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.wanted = replace(self.wanted, ticket=ticket)
        self._write(held=False)

    def _write(self, *, held: bool) -> None:
        self.wanted = replace(self.wanted, held=held)
        text = json.dumps(asdict(self.wanted)).encode()
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text, 0)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Give the folder of places, made where it is not there; refuse one that others could write."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    hint = "Remove it, or set XDG_RUNTIME_DIR to a folder that is yours alone."
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise HostError(
            f"Folder {folder}, for the places of machines: it cannot be used: {error.strerror}.",
            hint=hint,
        ) from None
    try:
        status = os.fstat(descriptor)
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != os.geteuid() or mode & 0o077:
            raise HostError(
                f"Folder {folder}, for the places of machines: it is of user {status.st_uid} "
                f"with mode {mode:04o}, and must be of user {os.geteuid()} with mode 0700.",
                hint=hint,
            )
        yield descriptor
    finally:
        os.close(descriptor)


def _living(folder: int) -> Iterator[tuple[str, Place]]:
    """Give the places whose owners live, in the order of their tickets; remove the others."""
    for name in sorted(os.listdir(folder)):
        match = _PLACE.fullmatch(name)
        if match is None:
            continue
        try:
            # O_NONBLOCK: what stands there might be a FIFO.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(name, flags, dir_fd=folder)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
        except BlockingIOError:
            place = _parse(_read(descriptor))
            if place is not None and place.ticket == int(match[1]):
                yield name, place
        finally:
            os.close(descriptor)


def _read(descriptor: int) -> bytes:
    try:
        return os.pread(descriptor, _MOST_BYTES, 0)
    except OSError:  # a folder, a FIFO
        return b""


def _parse(text: bytes) -> Place | None:
    """Read a place's file; None for what none of our processes wrote."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    match content:
        case {
            "ticket": int(ticket),
            "process": int(process),
            "memory_bytes": int(memory_bytes),
            "processors": int(processors),
            "held": bool(held),
        } if min(ticket, process, memory_bytes, processors) >= 0:
            return Place(ticket, process, memory_bytes, processors, held)
        case _:
            return None


def _offer(others: Sequence[Place]) -> Offer:
    """Look at the host; where nobody holds a place, nothing of it matters but that."""
    holders = {place.process for place in others if place.held}
    memory = host.memory()
    return Offer(
        total_bytes=memory.total_bytes,
        available_bytes=memory.available_bytes,
        processors=host.cpu_count(),
        used_bytes=host.memory_of_children(holders) if holders else {},
    )


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
