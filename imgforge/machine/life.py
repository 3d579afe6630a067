"""A machine's life: it begins and ends with a block, and nothing of it is left."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from imgforge import host
from imgforge.errors import BadInputError
from imgforge.files import scratch_folder
from imgforge.machine.machine import Machine, Rooms
from imgforge.machine.spec import MachineSpec
from imgforge.machine.storage import Storage, lay_over, plain_storage
from imgforge.machine.subnet import OPEN_ADDRESS
from imgforge.machine.way import choose_way
from imgforge.metadata import MetadataService, Secrets
from imgforge.usage import in_use


@asynccontextmanager
async def start_machine(
    spec: MachineSpec, *, storage: Storage | None = None
) -> AsyncIterator[Machine]:
    """Start the machine, and end it with the block. It is powered on, and not yet looked at.

    It writes to `storage`, which stays; without one to a throw-away layer above its disk. Call it
    on the thread of an event loop that outlives the machine: QEMU dies with that thread. Raises
    BadInputError for a disk that is no file, StartError (with QEMU's own words) where QEMU does
    not start, CommandError where the overlay cannot be made.
    """
    if not spec.disk.is_file():
        raise BadInputError(f"Disk {spec.disk}: not a file.")
    way = await asyncio.to_thread(choose_way, network=spec.network)
    if spec.network:
        spec = replace(spec, instance=replace(spec.instance, local_ipv4=OPEN_ADDRESS))
    spec.folder.mkdir(parents=True, exist_ok=True)
    xen = spec.source.xen
    with (
        in_use(xen.appliance.folder) if xen else nullcontext(),
        scratch_folder(spec.folder) as scratch,
        scratch_folder(_runtime_parent()) as runtime,
        (spec.folder / "metadata.jsonl").open("a" if spec.resume else "w", encoding="utf-8") as log,
    ):
        if storage is None:
            storage = await asyncio.to_thread(_lay_over, spec, scratch)
        machine = Machine(spec, storage, way)
        async with MetadataService(
            spec.instance,
            folder=runtime,
            clock=lambda: machine.elapsed_s,
            tell=lambda request: machine.note_request(request, log),
            secrets=Secrets(machine.tokens, spec.signer),
            faults=machine.faults,
        ) as service:
            machine.metadata = service
            try:
                await machine.power_on(service, Rooms(runtime, scratch))
                yield machine
            finally:
                await machine.quit()


def _lay_over(spec: MachineSpec, folder: Path) -> Storage:
    below = plain_storage(spec.disk, disk_format=spec.disk_format)
    return lay_over(spec.resume.storage if spec.resume else below, folder)


def _runtime_parent() -> Path:
    """Return where the relay's launcher may stand: slirp splits its path on spaces."""
    parent = host.runtime_parent()
    return parent if re.fullmatch(r"[\w./+-]+", str(parent), re.ASCII) else Path("/tmp")  # noqa: S108 (for a private folder in it)
