"""How instances come to be: launched from a disk, or forked from a frozen machine."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from imgforge.acceptance import Login, new_login
from imgforge.machine import Storage, create_volume, lay_over, plain_storage
from imgforge.metadata import Access, Instance, MetadataOptions
from imgforge.start import new_instance
from imgforge.testing.frozen import LOGIN_FOLDER, Frozen, copy_evidence, shown_lines
from imgforge.testing.live import LiveInstance, Place
from imgforge.testing.plan import Plan

_GIB = 2**30
_SILENT = MetadataOptions(http_endpoint=Access.DISABLED)


@asynccontextmanager
async def launch(
    plan: Plan, place: Place, *, memory_file: Path | None = None
) -> AsyncIterator[LiveInstance]:
    """Power on a new instance; it has not booted yet. It is cut off at the end of the block."""
    login = await asyncio.to_thread(
        new_login, place.scratch / LOGIN_FOLDER, user=plan.image.expect.login_user
    )
    identity = instance_of(plan, new_instance(login, image_id=plan.image.ami_id))
    storage = await asyncio.to_thread(_new_storage, plan, place.scratch)
    live = LiveInstance(plan, place, login, identity, storage)
    try:
        await live.power_on(memory_file=memory_file)
        yield live
    finally:
        await live.power_cut()


@asynccontextmanager
async def fork(plan: Plan, place: Place, *, frozen: Frozen) -> AsyncIterator[LiveInstance]:
    """Let a clone of a frozen machine go on. It is cut off at the end of the block."""
    suspended = frozen.suspended(plan)
    place.evidence.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(copy_evidence, frozen, place.evidence)
    facts = frozen.facts
    login_folder = place.scratch / LOGIN_FOLDER
    await asyncio.to_thread(shutil.copytree, frozen.folder / LOGIN_FOLDER, login_folder)
    login = Login(facts.login_user, login_folder, facts.public_key)
    base = new_instance(login, image_id=facts.image_id)
    if not plan.is_new_instance:
        base = replace(base, instance_id=facts.instance_id)
    live = LiveInstance(
        plan,
        place,
        login,
        instance_of(plan, base),
        await asyncio.to_thread(lay_over, suspended.storage, place.scratch),
        host_keys=facts.host_keys,
        notes=list(facts.notes),
        has_agent=facts.has_agent,
        earlier_lines=await asyncio.to_thread(shown_lines, place.evidence),
    )
    try:
        await live.power_on(resume=suspended)
        live.witness.dismiss_observer()
        await live.wake()
        yield live
    finally:
        await live.power_cut()


def instance_of(plan: Plan, base: Instance) -> Instance:
    """Return what the metadata service tells of a plan's instance."""
    letters = "bcdefghijklmnopqrstuvwxy"
    ephemeral = {
        f"ephemeral{number}": f"sd{letters[number]}"
        for number in range(len(plan.profile.instance_store_gib))
    }
    first = len(ephemeral)
    ebs = {
        f"ebs{number + 1}": f"sd{letters[first + number]}"
        for number in range(len(plan.volumes_gib))
    }
    return replace(
        base,
        instance_type=plan.profile.name,
        user_data=plan.user_data,
        options=_SILENT if plan.is_seeded else plan.metadata_options,
        tags=dict(plan.tags),
        block_devices={**base.block_devices, **ephemeral, **ebs},
    )


def _new_storage(plan: Plan, folder: Path) -> Storage:
    image = plan.image
    below = plain_storage(image.disk.path, disk_format=image.format)
    root_bytes = None if plan.root_gib is None else plan.root_gib * _GIB
    root = lay_over(below, folder, root_bytes=root_bytes).root
    sizes = (*plan.profile.instance_store_gib, *plan.volumes_gib)
    volumes = tuple(
        create_volume(folder / f"volume{number}.qcow2", size_bytes=size * _GIB)
        for number, size in enumerate(sizes)
    )
    return Storage(root, volumes)
