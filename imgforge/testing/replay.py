"""A failed test's machine, kept as it was, and started again at that point."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge import host
from imgforge.acceptance import Login, ssh_line, trust_host
from imgforge.disk import disk_sha256
from imgforge.errors import BadInputError
from imgforge.files import appearing, scratch_folder
from imgforge.machine import DiskLayer, Drive, Storage, Suspended, lay_over
from imgforge.metadata import Instance
from imgforge.progress import report
from imgforge.testing.forge import Forge
from imgforge.testing.frozen import LOGIN_FOLDER, STATE_FILE, host_facts
from imgforge.testing.live import LiveInstance, Place
from imgforge.testing.plan import Plan, Start
from imgforge.testing.shell import CommandRun

REPLAY_FOLDER = "replay"
_FACTS_FILE = "replay.json"
_COMMAND_LIMIT_S = 3600.0


class Point(StrEnum):
    """Where a machine goes on: where its test failed, or, had it ended by then, at its start."""

    FAILURE = "failure"
    START = "start"


class Kept(BaseModel):
    """replay.json: a machine as its test left it.

    `host` must be the same to go on from where it failed. `layers` are the names of the files of
    each disk, the top one first, without the image itself, which is below the root's.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )

    schema_version: Literal[1] = Field(default=1, alias="schema")
    test: str
    point: Point
    plan: Plan
    identity: Instance
    elapsed_s: float = 0.0
    token_secret: str = ""
    layers: tuple[tuple[str, ...], ...] = ()
    public_key: str = ""
    host_keys: tuple[str, ...] = ()
    has_agent: bool = False
    host: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Replayed:
    """A machine that goes on, and the ways in; `ssh` is "" where it never showed its host keys."""

    point: Point
    test: str
    instance_id: str
    ssh: str
    console: Path


async def keep(live: LiveInstance, *, test: str) -> None:
    """Keep a test's machine in its evidence folder, to be replayed; it does not run afterwards.

    Raises HostError where it cannot be kept (a full disk).
    """
    folder = live.place.evidence / REPLAY_FOLDER
    if not live.is_on:
        with appearing(folder) as new:
            new.mkdir()
            _write(new, Kept(test=test, point=Point.START, plan=live.plan, identity=live.identity))
        return
    has_agent, host_keys = live.has_agent, live.host_keys
    with appearing(folder) as new:
        new.mkdir()
        suspended = await live.suspend(new / STATE_FILE)
        await asyncio.to_thread(_keep_files, live, new)
        kept = Kept(
            test=test,
            point=Point.FAILURE,
            plan=live.plan,
            identity=live.identity,
            elapsed_s=suspended.elapsed_s,
            token_secret=suspended.token_secret.hex(),
            layers=_layer_names(suspended.storage),
            public_key=live.login.public_key,
            host_keys=host_keys,
            has_agent=has_agent,
            host=host_facts(live.plan),
        )
        _write(new, kept)


def _write(folder: Path, kept: Kept) -> None:
    text = kept.model_dump_json(by_alias=True, indent=2)
    (folder / _FACTS_FILE).write_text(text + "\n", encoding="utf-8")


def _layer_names(storage: Storage) -> tuple[tuple[str, ...], ...]:
    drives = (storage.root, *storage.volumes)
    counts = [len(storage.root.layers) - 1, *(len(drive.layers) for drive in storage.volumes)]
    return tuple(
        tuple(f"disk{number}-{layer}.qcow2" for layer in range(counts[number]))
        for number in range(len(drives))
    )


def _keep_files(live: LiveInstance, folder: Path) -> None:
    storage = live.storage
    for names, drive in zip(_layer_names(storage), (storage.root, *storage.volumes), strict=True):
        for name, layer in zip(names, drive.layers, strict=False):
            _link_or_copy(layer.path, folder / name)
    shutil.copytree(live.login.folder, folder / LOGIN_FOLDER)


def _link_or_copy(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)
    except OSError:  # on another file system
        shutil.copyfile(source, destination)


def read_kept(folder: Path) -> Kept:
    """Read what a failed test left in its evidence folder, or in the folder replay/ of it.

    Raises BadInputError where there is nothing to replay.
    """
    path = _kept_folder(folder) / _FACTS_FILE
    try:
        return Kept.model_validate_json(path.read_bytes())
    except OSError:
        raise BadInputError(
            f"Folder {folder}: there is no machine to replay in it.",
            hint="Name the folder of a failed test, below the evidence folder of its run.",
        ) from None
    except ValidationError as error:
        raise BadInputError(
            f"Replay {path}: is none: {error.errors()[0]['msg']}.",
            hint="Run the test again: this was kept by another imgforge, or is damaged.",
        ) from None


def _kept_folder(folder: Path) -> Path:
    return folder if (folder / _FACTS_FILE).is_file() else folder / REPLAY_FOLDER


async def replay(
    folder: Path, *, command: str = "", announce: Callable[[Replayed], None]
) -> CommandRun | None:
    """Start a failed test's machine again where it failed, and tell the ways in.

    What it writes is thrown away. With `command` that is run in it, as root, and returned; else
    it runs until it ends by itself. Raises BadInputError for what cannot be replayed, ImageFailure
    where a machine that starts from the beginning does not boot, HarnessError for the host.
    """
    kept = read_kept(folder)
    if kept.point is Point.FAILURE:
        for name, now in host_facts(kept.plan).items():
            if kept.host.get(name) != now:
                report(f"replay: {name} is another one now: the machine starts from its beginning")
                kept = kept.model_copy(update={"point": Point.START})
    disk = kept.plan.image.disk
    if not disk.path.is_file() or await asyncio.to_thread(disk_sha256, disk.path) != disk.sha256:
        raise BadInputError(f"Disk {disk.path}: is not the one that was tested any more.")
    with scratch_folder(host.runtime_parent()) as scratch:
        begin = _go_on if kept.point is Point.FAILURE else _start_over
        async with begin(kept, _kept_folder(folder), scratch) as live:
            announce(_told(kept, live))
            if command:
                return await live.shell().run(command, timeout_s=_COMMAND_LIMIT_S)
            await live.witness.wait_until(lambda: live.witness.ended is not None, float("inf"))
    return None


def _told(kept: Kept, live: LiveInstance) -> Replayed:
    port = live.witness.ssh_port
    if live.host_keys:
        trust_host(live.login, keys=live.host_keys, port=port)
    return Replayed(
        point=kept.point,
        test=kept.test,
        instance_id=live.identity.instance_id,
        ssh=ssh_line(live.login, port=port) if live.host_keys else "",
        console=live.place.evidence / "console.log",
    )


@asynccontextmanager
async def _go_on(kept: Kept, folder: Path, scratch: Path) -> AsyncIterator[LiveInstance]:
    suspended = Suspended(
        state=folder / STATE_FILE,
        storage=_storage(kept, folder),
        elapsed_s=kept.elapsed_s,
        token_secret=bytes.fromhex(kept.token_secret),
    )
    login_folder = scratch / LOGIN_FOLDER
    await asyncio.to_thread(shutil.copytree, folder / LOGIN_FOLDER, login_folder)
    live = LiveInstance(
        kept.plan,
        Place(scratch / "evidence", scratch),
        Login(kept.plan.image.expect.login_user, login_folder, kept.public_key),
        kept.identity,
        await asyncio.to_thread(lay_over, suspended.storage, scratch),
        host_keys=kept.host_keys,
        has_agent=kept.has_agent,
    )
    try:
        await live.power_on(resume=suspended)
        live.witness.dismiss_observer()
        yield live
    finally:
        await live.power_cut()


def _storage(kept: Kept, folder: Path) -> Storage:
    image = kept.plan.image
    drives = [
        Drive(tuple(DiskLayer((folder / name).absolute(), "qcow2") for name in names))
        for names in kept.layers
    ]
    below = DiskLayer(image.disk.path.absolute(), image.format)
    return Storage(Drive((*drives[0].layers, below)), tuple(drives[1:]))


@asynccontextmanager
async def _start_over(kept: Kept, _folder: Path, scratch: Path) -> AsyncIterator[LiveInstance]:
    """Begin where the test began: a machine that ended cannot go on."""
    plan = kept.plan
    if plan.start is Start.POWER_ON:
        plan = replace(plan, start=Start.COLD)
    async with Forge(scratch / "first-boots").machine(plan, scratch / "evidence") as live:
        yield live
