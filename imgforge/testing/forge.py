"""Where tests get their machines: frozen ones are made once, by whoever comes first."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from imgforge.cache import make_room
from imgforge.claim import claimed
from imgforge.errors import HostError
from imgforge.files import appearing, scratch_folder
from imgforge.machine import T2_MICRO, StartError
from imgforge.places import reserve
from imgforge.progress import LOG, report, warn
from imgforge.report import SCREENSHOT
from imgforge.testing.failure import HarnessError, ImageFailure, StarvedError
from imgforge.testing.frozen import (
    EVIDENCE,
    MEMORY_FILE,
    STATE_FILE,
    XEN_EVIDENCE,
    Frozen,
    Unusable,
    discard_frozen,
    first_boot_name,
    frozen_folder,
    load_frozen,
    new_frozen,
    plan_key,
    seal,
)
from imgforge.testing.live import LiveInstance, Place
from imgforge.testing.machine_files import (
    BOOTS_FILE,
    FAILURE_FILE,
    MachineFacts,
    new_facts,
    write_facts,
)
from imgforge.testing.origin import fork, launch
from imgforge.testing.plan import Plan, Start
from imgforge.testing.wake import prepare_script
from imgforge.usage import FolderGoneError, in_use, touch_used

_RESERVE_LIMIT_S = 7200.0
_MIB = 2**20
_QEMU_BYTES = 160 * _MIB  # what QEMU itself takes on TCG, its translated code included
DEFAULT_MACHINE_BYTES = T2_MICRO.memory_mib * _MIB + _QEMU_BYTES
"""The memory of a machine that no mark changed."""
# Where the image has them: its first boot is over when these say so.
SETTLE = (
    "if command -v cloud-init >/dev/null 2>&1; then cloud-init status --wait >/dev/null 2>&1; fi; "
    "if [ -d /run/systemd/system ]; then systemctl is-system-running --wait >/dev/null 2>&1; fi; "
    "sync"
)
"""The command line that ends when a machine has finished its first boot."""
_PREPARE_LIMIT_S = 60.0


class _DoesNotGoOnError(Exception):
    """QEMU refuses the state of a frozen machine."""


@dataclass(slots=True)
class Forge:
    """Gives machines to one test process.

    `first_boots` is a folder shared by the processes of one test run: what a first boot that
    failed showed is in it, so that nobody boots that image again.
    """

    first_boots: Path
    _frozen: dict[str, Frozen] = field(default_factory=dict)

    @asynccontextmanager
    async def machine(self, plan: Plan, evidence: Path) -> AsyncIterator[LiveInstance]:
        """Give a machine for the block: a clone, or one that was booted for it.

        Raises ImageFailure where the image does not boot, HarnessError where the host fails.
        """
        await asyncio.to_thread(evidence.mkdir, parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            try:
                live = await self._enter(stack, plan, evidence)
            except HarnessError:
                raise
            except HostError as error:
                raise HarnessError(str(error), hint=error.hint) from error
            yield live

    async def _enter(self, stack: AsyncExitStack, plan: Plan, evidence: Path) -> LiveInstance:
        await stack.enter_async_context(reserved(plan))
        scratch = stack.enter_context(scratch_folder(evidence))
        place = Place(evidence, scratch / "machine")
        place.scratch.mkdir()
        if plan.why_cold:
            return await boot_cold(stack, plan, place)
        try:
            return await self._fork(stack, plan, place)
        except _DoesNotGoOnError as error:
            warn(f"frozen machine of {plan.image.disk.path.name}: QEMU does not go on with it")
            LOG.info("%s", error)
        place = Place(evidence, scratch / "cold")
        place.scratch.mkdir()
        live = await boot_cold(stack, plan, place)
        live.notes.append("booted cold: its frozen machine does not go on")
        return live

    async def _fork(self, stack: AsyncExitStack, plan: Plan, place: Place) -> LiveInstance:
        """Fork a frozen machine. Where it does not go on, forget it: _DoesNotGoOnError."""
        frozen = await self._find_frozen(plan)
        try:
            stack.enter_context(in_use(frozen.folder))
        except FolderGoneError:  # pruned since
            self._frozen.pop(plan_key(plan), None)
            frozen = await self._find_frozen(plan)
            stack.enter_context(in_use(frozen.folder))
        touch_used(frozen.folder)
        try:
            return await stack.enter_async_context(fork(plan, place, frozen=frozen))
        except StartError as error:
            self._frozen.pop(plan_key(plan), None)
            discard_frozen(frozen)
            raise _DoesNotGoOnError(str(error)) from error

    async def _find_frozen(self, plan: Plan) -> Frozen:
        """Return the frozen machine of a plan, made by us if nobody has made it."""
        key = plan_key(plan)
        if key not in self._frozen:
            waiting = frozen_folder(plan).parent / "locks" / key
            async with claimed(waiting, what="another run is booting the same machine"):
                self._frozen[key] = await self._load_or_freeze(plan)
        return self._frozen[key]

    async def _load_or_freeze(self, plan: Plan) -> Frozen:
        name = plan.image.disk.path.name
        try:
            found = await asyncio.to_thread(load_frozen, plan)
        except Unusable as reason:
            warn(f"frozen machine of {name}: {reason}; booting cold")
            found = None
        if found is not None:
            return found
        told = self.first_boots / first_boot_name(plan) / FAILURE_FILE
        if told.is_file():
            raise ImageFailure(told.read_text(encoding="utf-8"))
        report(f"{name}: first boot, to be frozen for the tests")
        try:
            await self._freeze(plan, told)
        except StarvedError as error:
            warn(f"{name}: {error} Once more")
            await self._freeze(plan, told)
        await asyncio.to_thread(make_room, frozen_folder(plan).parent)
        made = await asyncio.to_thread(load_frozen, plan)
        if made is None:
            raise HarnessError(f"Frozen machine of {name}: somebody removed it from the cache.")
        return made

    async def _freeze(self, plan: Plan, told: Path) -> None:
        """Freeze a plan's machine; `told` is the file for the failure of its boot."""
        name = plan.image.disk.path.name
        with new_frozen(plan) as new:
            facts = new_facts(f"first boot of {name}, {plan.profile.name}")
            try:
                await freeze(plan, new)
            except ImageFailure as failure:
                _keep_first_boot(new, told.parent, plan=plan, facts=facts)
                with appearing(told) as text:
                    text.write_text(str(failure), encoding="utf-8", errors="replace")
                raise
            _keep_first_boot(new, told.parent, plan=plan, facts=facts)


@asynccontextmanager
async def reserved(plan: Plan) -> AsyncIterator[None]:
    """Hold the memory of a plan's machine; processors are the test runner's to count."""
    memory_bytes = machine_bytes(plan)
    async with reserve(memory_bytes=memory_bytes, processors=0, limit_s=_RESERVE_LIMIT_S):
        yield


def machine_bytes(plan: Plan) -> int:
    """Return the memory that a plan's machine may come to take."""
    return plan.memory_mib * _MIB + _QEMU_BYTES


async def boot_cold(stack: AsyncExitStack, plan: Plan, place: Place) -> LiveInstance:
    """Return an instance that was booted, or only powered on where its plan says so."""
    live = await stack.enter_async_context(launch(plan, place))
    if plan.start is Start.POWER_ON:
        return live
    try:
        await live.boot()
    except StarvedError as error:
        warn(f"{plan.image.disk.path.name}: {error} Once more")
        await live.power_cut()
        again = Place(place.evidence, place.scratch / "again")
        again.scratch.mkdir()
        live = await stack.enter_async_context(launch(plan, again))
        await live.boot()
    return live


async def freeze(plan: Plan, folder: Path) -> None:
    """Boot a plan's machine in an empty folder and freeze it there once it is ready.

    Raises ImageFailure where it does not boot.
    """
    memory = folder / MEMORY_FILE
    with memory.open("wb") as file:
        file.truncate(plan.memory_mib * _MIB)
    async with launch(plan, Place(folder, folder), memory_file=memory) as live:
        record = await live.boot()
        shell = live.shell()
        await shell.run(SETTLE, timeout_s=plan.image.expect.boot_limit_s)
        prepared = await shell.run(prepare_script(), timeout_s=_PREPARE_LIMIT_S)
        if prepared.exit_code:
            live.notes.append(f"clones cannot reseed: {prepared.output}")
        suspended = await live.suspend(folder / STATE_FILE, memory=memory)
    await asyncio.to_thread(
        seal,
        folder,
        plan=plan,
        suspended=suspended,
        facts={
            "qemu_version": record.qemu_version,
            "seconds": round(record.seconds, 3),
            "instance_id": live.identity.instance_id,
            "image_id": live.identity.image_id,
            "public_key": live.login.public_key,
            "login_user": live.login.user,
            "host_keys": live.host_keys,
            "has_agent": live.has_agent,
            "notes": tuple(live.notes),
        },
    )


def _keep_first_boot(folder: Path, kept: Path, *, plan: Plan, facts: MachineFacts) -> None:
    """Keep what a first boot showed, for the report of this run."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in (*EVIDENCE, *XEN_EVIDENCE, BOOTS_FILE, SCREENSHOT):
        if (folder / name).is_file():
            (kept / name).write_bytes((folder / name).read_bytes())
    known = {"instance_type": plan.profile.name, "is_plain": plan.is_plain}
    write_facts(kept, facts.model_copy(update=known))
