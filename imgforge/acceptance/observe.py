"""A running machine is watched until somebody is in, or until it is clear that nobody will be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from imgforge.acceptance.login import Login, Visitor, trust_host, unanswered
from imgforge.acceptance.outside_signs import (
    OUTSIDE_SIGNS,
    Heard,
    KeyWay,
    sign_of_end,
    sign_of_limit,
    sign_of_login,
    sign_of_silence,
)
from imgforge.acceptance.record import (
    BootMethod,
    BootRecord,
    CommandResult,
    LoginAttempt,
    LoginId,
    LoginOutcome,
    SeenSign,
    StageName,
)
from imgforge.acceptance.watch import Watch
from imgforge.errors import HostError
from imgforge.machine import Accelerator, MachineEnded, MachineEvent, WayChoice
from imgforge.progress import report
from imgforge.recipe import ExpectPart

# A server is mostly there a moment after its keys; one that stays away is not to be pestered.
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 1.0
RETRY_GROWTH = 1.25
REFUSED_RETRY_S = 1.5
REFUSED_FOR_S = 8.0
REFUSALS = 3
COMMAND_LIMIT_S = 60.0
KNOCK_AFTER_S = 15.0
_SUPER_USER = "root"
_EVENTS_AT_ONCE = 500
_ANSWERED = frozenset({LoginOutcome.WRONG_ANSWER, LoginOutcome.REFUSED})
# PV-GRUB's stand-in unpacks a kernel without a word: 15 s on TCG, many times that on a busy host.
_LOADING_LIMIT_S = 240.0
_NOTHING_DUE_S = 3600.0  # a sign that comes meanwhile is looked at when it comes


class _Spec(Protocol):
    @property
    def accelerator(self) -> Accelerator: ...


class ObservedMachine(Protocol):
    """What is needed of a running machine to observe it."""

    @property
    def spec(self) -> _Spec:
        """How it was started."""

    @property
    def ssh_port(self) -> int:
        """The loopback port that leads to its SSH server."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since power-on."""

    @property
    def qemu_version(self) -> str:
        """The version of the QEMU that runs it."""

    @property
    def way(self) -> WayChoice:
        """How its guest comes to the metadata service."""

    def events(self) -> AsyncIterator[MachineEvent]:
        """Return what happens to it, in order."""

    @property
    def waited_s(self) -> float:
        """Seconds for which it waited for one of the host's processors."""

    def full_disk(self) -> MachineEnded | None:
        """Return the end that a host without space for its writes is, if it has none."""


async def observe(
    machine: ObservedMachine,
    *,
    expect: ExpectPart,
    login: Login,
    boot_method: BootMethod,
    known_host_keys: tuple[str, ...] = (),
    service_off: str = "",
) -> BootRecord:
    """Watch `machine` until all that is expected was seen, a fatal sign, or a limit.

    It ends within 2 s of a fatal sign's appearance; `expect.boot_limit_s` bounds the time to the
    first login, and `expect.silence_limit_s` the time without any event until then. What comes
    after the login has limits of its own. The stages are those of
    `boot_method`. Keys and known_hosts are in the folder of `login`.
    `known_host_keys` are those that an earlier boot of the instance showed: cloud-init prints them
    once in its life. `service_off` is why its metadata service tells nothing, "" where it does:
    then no stage, and no key, is waited for from there.

    Raises HostError where ssh is not there or the machine can no longer be heard; cancelled, it
    leaves no ssh behind.
    """
    watch = Watch(
        boot_method=boot_method,
        has_metadata=not service_off,
        must_show=expect.console_must_show,
        must_not_show=expect.console_must_not_show,
    )
    visit = _Visit(machine, watch, expect, login, known_host_keys, service_off)
    tasks = [asyncio.create_task(part) for part in (visit.read(), visit.guard(), visit.pay())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return _record(visit, boot_method=boot_method)


def _record(visit: "_Visit", *, boot_method: BootMethod) -> BootRecord:
    watch, machine = visit.watch, visit.machine
    watch.look_at_pending()
    sign = watch.settle() or _explained(visit)
    return BootRecord(
        stages=watch.stages.stages(),
        sign=sign,
        ended=(machine.full_disk() if sign else None) or watch.ended,
        logins=tuple(visit.logins.values()),
        commands=tuple(visit.commands),
        requests=tuple(watch.requests),
        host_keys=visit.host_keys,
        must_show=watch.must_show,
        must_not_show=watch.must_not_show,
        console_lines=watch.console_lines,
        accelerator=machine.spec.accelerator,
        qemu_version=machine.qemu_version,
        boot_method=boot_method,
        seconds=machine.elapsed_s,
        waited_s=machine.waited_s,
        metadata_way=machine.way,
        service_off=visit.service_off,
    )


def _explained(visit: "_Visit") -> SeenSign | None:
    """Return what ended the boot from outside, named by its cause on the console, if any."""
    sign = visit.sign
    known = sign and OUTSIDE_SIGNS.get(sign.id)
    return visit.watch.explain(sign) if sign and known and known.is_symptom else sign


@dataclass(slots=True)
class _Visit:
    """Three tasks on one watch: read what happens, guard the limits, pay the visit by SSH.

    Whichever ends first ends the observation.
    """

    machine: ObservedMachine
    watch: Watch
    expect: ExpectPart
    login: Login
    known_host_keys: tuple[str, ...] = ()
    service_off: str = ""
    sign: SeenSign | None = None
    logins: dict[LoginId, LoginAttempt] = field(default_factory=dict)
    commands: list[CommandResult] = field(default_factory=list)
    is_in: bool = False
    _told: StageName | None = None
    _progress_at_s: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _has_host_keys: asyncio.Event = field(default_factory=asyncio.Event)
    _shows_all: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Take the machine's events until it ends."""
        count = 0
        async for event in self.machine.events():
            before = self.watch.settles_at_s
            self.watch.take(event)
            self._tell_progress()
            if self.watch.settles_at_s != before:
                self._changed.set()
            if self._may_knock():
                self._has_host_keys.set()
            if self.is_in:
                self._see_whether_all_shows()
            count += 1
            if count % _EVENTS_AT_ONCE == 0:  # a flood must not keep the others from running
                await asyncio.sleep(0)
        if self.watch.ended is None:
            raise HostError("The machine's events stopped without telling that it ended.")
        self.sign = sign_of_end(
            self.watch.ended,
            was_in=self.is_in,
            waits_for_kernel=self.watch.stages.waits_for_kernel,
        )

    async def guard(self) -> None:
        """Wait for a sign to settle, or for a limit to pass."""
        while True:
            now = self.machine.elapsed_s
            if self._is_over(now):
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.01, self._deadline() - now))
            self._changed.clear()

    @property
    def host_keys(self) -> tuple[str, ...]:
        """The keys to trust: what this boot shows goes before what an earlier one did."""
        return self.watch.host_keys or self.known_host_keys

    def _may_knock(self) -> bool:
        started = bool(self.known_host_keys) and self.watch.stages.has_reached(StageName.INIT)
        return started or bool(self.watch.host_keys)

    async def pay(self) -> None:
        """Log in once the host keys are known; then look at all that a login can show."""
        # A quiet system that shows nothing of its start is knocked at after a while.
        limit_s = KNOCK_AFTER_S if self.known_host_keys else None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._has_host_keys.wait(), limit_s)
        visitor = Visitor(self.login, self.machine.ssh_port)
        if not await self._log_in(visitor):
            return
        await self._run_commands(visitor)
        await self._try_other_ways(visitor)
        await self._wait_for_console()

    def _is_over(self, now: float) -> bool:
        settles_at_s = self.watch.settles_at_s
        if settles_at_s is not None and now >= settles_at_s:
            return self.watch.settle() is not None
        if self.is_in or now < self._deadline():
            return False
        owner = self.logins.get(LoginId.OWNER)
        if owner is not None and owner.outcome in _ANSWERED:
            self.sign = sign_of_login(owner, way=self._key_way)
            return True
        limited = now >= self.expect.boot_limit_s
        make, limit_s = (
            (sign_of_limit, self.expect.boot_limit_s)
            if limited
            else (sign_of_silence, self._silence_limit_s)
        )
        heard = Heard(
            self.watch.last_said,
            has_host_keys=bool(self.watch.host_keys),
            fetched=self.watch.key_fetched_at_s is not None,
            waits_for_kernel=self.watch.stages.waits_for_kernel,
        )
        self.sign = make(heard, at_s=now, limit_s=limit_s)
        return True

    @property
    def _key_way(self) -> KeyWay:
        if self.service_off:
            return KeyWay.NOT_SERVED
        fetched = self.watch.key_fetched_at_s is not None
        return KeyWay.FETCHED if fetched else KeyWay.NOT_ASKED

    @property
    def _silence_limit_s(self) -> float:
        limit_s = self.expect.silence_limit_s
        return max(limit_s, _LOADING_LIMIT_S) if self.watch.is_loading else limit_s

    def _deadline(self) -> float:
        """Return when, in seconds from power-on, something is next to be looked at."""
        settles_at_s = self.watch.settles_at_s
        if settles_at_s is not None:
            return settles_at_s
        if self.is_in:
            return self.machine.elapsed_s + _NOTHING_DUE_S
        heard_at_s = max(self.watch.last_at_s, self._progress_at_s)
        return min(self.expect.boot_limit_s, heard_at_s + self._silence_limit_s)

    def _tell_progress(self) -> None:
        furthest = self.watch.stages.furthest
        if furthest is not None and furthest is not self._told:
            self._told = furthest
            report(f"boot: {furthest.value} after {self.machine.elapsed_s:.1f} s")

    def _see_whether_all_shows(self) -> None:
        if self.watch.shows_all:
            self._shows_all.set()

    async def _log_in(self, visitor: Visitor) -> bool:
        """Try until in; tell whether we are, else what refuses us is in `sign`."""
        refusals = _Refusals(self.expect.silence_limit_s)
        last: LoginOutcome | None = None
        retry_s = FIRST_RETRY_S
        self.logins[LoginId.OWNER] = unanswered(self.login.user, at_s=self.machine.elapsed_s)
        while True:
            trust_host(self.login, keys=self.host_keys, port=self.machine.ssh_port)
            attempt = await visitor.log_in(at_s=self.machine.elapsed_s)
            now = self.machine.elapsed_s
            self.logins[LoginId.OWNER] = attempt
            if attempt.outcome is not last:
                last, self._progress_at_s = attempt.outcome, now
            if attempt.let_in:
                self.watch.stages.reach(StageName.SSH, now)
                self.is_in = True
                self._tell_progress()
                return True
            fetched = self.watch.key_fetched_at_s is not None
            if refusals.are_final(attempt, now=now, fetched=fetched):
                self.sign = sign_of_login(attempt, way=self._key_way)
                return False
            refused = attempt.outcome is not LoginOutcome.UNREACHABLE
            await asyncio.sleep(REFUSED_RETRY_S if refused else retry_s)
            retry_s = min(LAST_RETRY_S, retry_s * RETRY_GROWTH)

    async def _wait_for_console(self) -> None:
        """Wait for what the console must show; cloud-init says much after the first login."""
        self.watch.look_at_pending()
        self._see_whether_all_shows()
        while not self._shows_all.is_set():
            heard_at_s = max(self.watch.last_at_s, self._progress_at_s)
            until = min(self.expect.boot_limit_s, heard_at_s + self.expect.silence_limit_s)
            remaining_s = until - self.machine.elapsed_s
            if remaining_s <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._shows_all.wait(), remaining_s)

    async def _run_commands(self, visitor: Visitor) -> None:
        for line in self.expect.commands:
            limit_s = max(COMMAND_LIMIT_S, self.expect.boot_limit_s - self.machine.elapsed_s)
            report(f"boot: running {line}")
            self.commands.append(await visitor.run(line, timeout_s=limit_s))
            self._progress_at_s = self.machine.elapsed_s

    async def _try_other_ways(self, visitor: Visitor) -> None:
        """Knock with a key nobody was told of, as the user and as root, at the same time.

        After the commands: OpenSSH (9.8 and later) shuts out an address that was refused often.
        """
        users = {LoginId.OTHER_KEY: self.login.user, LoginId.OTHER_KEY_ROOT: _SUPER_USER}
        if self.login.user == _SUPER_USER:
            del users[LoginId.OTHER_KEY_ROOT]
        now = self.machine.elapsed_s
        attempts = await asyncio.gather(
            *(visitor.try_other_key(way, user=user, at_s=now) for way, user in users.items())
        )
        self.logins |= {attempt.id: attempt for attempt in attempts}


@dataclass(slots=True)
class _Refusals:
    """Tells a server that is not ready from one that has made up its mind.

    A key may be refused while the guest still puts it in place: refusals are final 8 s and three
    of them after the guest has fetched it. While it was not even asked for, they are final after
    the silence limit: a server that logs our knocking would keep the console from ever being
    silent.
    """

    silence_limit_s: float
    count: int = 0
    first_at_s: float = 0.0
    _fetched: bool = False

    def are_final(self, attempt: LoginAttempt, *, now: float, fetched: bool) -> bool:
        if attempt.outcome in {LoginOutcome.HOST_KEY_MISMATCH, LoginOutcome.NO_AGREEMENT}:
            return True
        if attempt.outcome is LoginOutcome.UNREACHABLE:
            return False
        if self.count == 0 or fetched is not self._fetched:
            self.count, self.first_at_s, self._fetched = 0, now, fetched
        self.count += 1
        limit_s = REFUSED_FOR_S if fetched else self.silence_limit_s
        return self.count >= REFUSALS and now - self.first_at_s >= limit_s
