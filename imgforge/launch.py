"""A registered image is launched: booted for a person to log in to, until it ends."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from imgforge import host
from imgforge.acceptance import BootRecord, host_failure, new_login, observe, ssh_line
from imgforge.disk import Disk
from imgforge.errors import HostError, ImageRejectedError
from imgforge.files import scratch_folder
from imgforge.identity_key import installation_signer
from imgforge.interruption import run_async
from imgforge.machine import Accelerator, MachineEnded, MachineSpec, start_machine
from imgforge.metadata import Access, MetadataOptions
from imgforge.progress import report
from imgforge.recipe import ExpectPart
from imgforge.seed import seed_of, write_seed
from imgforge.start import Surroundings, find_start, new_instance, why_service_off

# Whoever launches an image wants in; what else it should show, its verdict has told.
_ONLY_LOGIN = {"commands": (), "console_must_show": (), "console_must_not_show": ()}


@dataclass(frozen=True, slots=True)
class Launched:
    """An instance that runs and lets its owner in; `console` is its log, followed live."""

    instance_id: str
    image_id: str
    ssh: str
    ssh_port: int
    console: Path


@dataclass(frozen=True, slots=True)
class LaunchWish:
    """An image, its disk, and how it is to be started.

    With `is_seeded` a NoCloud seed tells the instance who it is, and its metadata service is off.
    """

    image_id: str
    disk: Disk
    surroundings: Surroundings
    accelerator: Accelerator
    user_data: bytes | None = None
    is_seeded: bool = False


def launch(wish: LaunchWish, *, announce: Callable[[Launched], None]) -> None:
    """Boot an image, `announce` the way in once its owner gets in, and wait for its end.

    What the machine writes goes to an overlay that is thrown away. Raises ImageRejectedError
    where nobody gets in, telling why; HostError where the host fails.
    """
    with scratch_folder(host.runtime_parent()) as folder:
        run_async(_launch(wish, folder=folder, announce=announce))


async def _launch(wish: LaunchWish, *, folder: Path, announce: Callable[[Launched], None]) -> None:
    start = await asyncio.to_thread(find_start, wish.disk, folder, pv=wish.surroundings.pv)
    if start.failure is not None:
        raise ImageRejectedError(f"Image {wish.image_id}: {start.failure.reason}")
    expect = wish.disk.recipe.expect if wish.disk.recipe else ExpectPart()
    login = new_login(folder / "login", user=expect.login_user)
    instance = replace(new_instance(login, image_id=wish.image_id), user_data=wish.user_data)
    seed = None
    if wish.is_seeded:
        seed = folder / "seed.iso"
        write_seed(seed_of(instance), seed)
        instance = replace(instance, options=MetadataOptions(http_endpoint=Access.DISABLED))
    spec = MachineSpec(
        disk=wish.disk.path,
        accelerator=wish.accelerator,
        instance=instance,
        folder=folder,
        source=start.source,
        network=wish.surroundings.network,
        signer=await asyncio.to_thread(installation_signer),
        seed=seed,
    )
    async with start_machine(spec) as machine:
        record = await observe(
            machine,
            expect=expect.model_copy(update=_ONLY_LOGIN),
            login=login,
            boot_method=start.method,
            service_off=why_service_off(instance, is_seeded=wish.is_seeded),
        )
        _require_login(wish.image_id, record)
        announce(
            Launched(
                instance_id=instance.instance_id,
                image_id=wish.image_id,
                ssh=ssh_line(login, port=machine.ssh_port),
                ssh_port=machine.ssh_port,
                console=folder / "console.log",
            )
        )
        async for event in machine.events():
            if isinstance(event, MachineEnded):
                report(f"{instance.instance_id} ended: {event.reason}")


def _require_login(image_id: str, record: BootRecord) -> None:
    if failure := host_failure(record):
        raise HostError(f"Image {image_id}: the host ended its machine: {failure}")
    if not any(attempt.let_in for attempt in record.logins):
        said = record.sign.meaning if record.sign else "nobody was let in"
        shown = "\n".join(f"  | {line}" for line in record.console_lines[-12:])
        raise ImageRejectedError(
            f"Image {image_id}: {said}. The end of its console:\n{shown}",
            hint="imgforge test tells more of its disk.",
        )
