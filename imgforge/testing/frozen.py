"""Frozen machines: booted once, kept by what they are made of, and gone on from many times.

A frozen machine is a folder of the cache, named by the digest of all that decides its first boot.
It is believed only while each of its files has the digest it was written with, and only by the
QEMU and the processor it was made with.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imgforge import host
from imgforge.accelerator import AcceleratorKind
from imgforge.command import find_program
from imgforge.files import scratch_folder
from imgforge.machine import DiskLayer, Drive, Storage, Suspended, choose_way, plain_storage
from imgforge.testing.plan import Plan
from imgforge.xen_appliance import prepare_appliance

FORMAT = 2
FACTS_FILE = "frozen.json"
MEMORY_FILE = "memory"
STATE_FILE = "state"
LOGIN_FOLDER = "login"
EVIDENCE = ("console.raw", "console.log", "metadata.jsonl")
XEN_EVIDENCE = ("xen.raw", "xen.log")
_CHUNK_BYTES = 1 << 20
_ZEROS = bytes(_CHUNK_BYTES)


class FrozenFacts(BaseModel):
    """frozen.json: what was frozen, what may go on with it, and the digests of its files.

    `disk` is the path it was booted from, for people; `host` is what made it and must be the same
    to go on; `seconds` is what the first boot took; `token_secret` is in hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(default=1, alias="schema")
    disk: str
    disk_sha256: str
    instance_type: str
    created: datetime
    qemu_version: str
    host: dict[str, str]
    seconds: float
    elapsed_s: float
    token_secret: str
    instance_id: str
    image_id: str
    public_key: str
    login_user: str
    host_keys: tuple[str, ...]
    has_agent: bool
    notes: tuple[str, ...]
    files: dict[str, str]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen machine that was looked at and found whole."""

    folder: Path
    facts: FrozenFacts

    def suspended(self, plan: Plan) -> Suspended:
        """Return what a machine of the same plan goes on from."""
        return Suspended(
            state=self.folder / STATE_FILE,
            storage=_storage(self.folder, plan),
            elapsed_s=self.facts.elapsed_s,
            token_secret=bytes.fromhex(self.facts.token_secret),
            memory=self.folder / MEMORY_FILE,
        )


class Unusable(Exception):  # noqa: N818  (an answer, not an error)
    """A frozen machine cannot be gone on from; says why."""


def plan_key(plan: Plan) -> str:
    """Return the digest of all that decides the first boot of a plan's machine."""
    profile = asdict(plan.profile)
    facts = {
        "format": FORMAT,
        "disk": plan.image.disk.sha256,
        "disk_format": plan.image.format,
        "layout": plan.image.disk.layout,
        "profile": {name: profile[name] for name in sorted(profile)},
        "accelerator": [plan.accelerator.kind, plan.accelerator.cpu_model],
        "user_data": None if plan.user_data is None else plan.user_data.hex(),
        "metadata_options": asdict(plan.metadata_options),
        "tags": plan.tags,
        "volumes_gib": plan.volumes_gib,
        "root_gib": plan.root_gib,
        "network": plan.network,
        "metadata_way": choose_way(network=plan.network).way,
        "ami_id": plan.image.ami_id,
        "expect": plan.image.expect.model_dump(mode="json"),
    }
    if plan.pv_grub is not None:
        facts["pv"] = [plan.pv.way, plan.pv_grub.name]
    if plan.is_under_xen:
        facts["xen"] = prepare_appliance(host.cache_dir()).key
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def first_boot_name(plan: Plan) -> str:
    """Return the name of the folder in which a run keeps what a plan's first boot showed."""
    return plan_key(plan)[:16]


def host_facts(plan: Plan) -> dict[str, str]:
    """Return what of this host must be the same to go on with a machine frozen on it."""
    qemu = find_program("qemu-system-x86_64").resolve()
    status = qemu.stat()
    facts = {"QEMU": f"{qemu} of {status.st_size} bytes, {status.st_mtime_ns}"}
    if plan.accelerator.kind is AcceleratorKind.KVM:
        facts["processor"] = host.processor()
    return facts


def frozen_folder(plan: Plan) -> Path:
    """Return where the cache has the frozen machine of a plan, or would have it."""
    return host.cache_dir() / "frozen" / plan_key(plan)


def load_frozen(plan: Plan) -> Frozen | None:
    """Return the frozen machine of a plan, or None where there is none.

    Raises Unusable for one that is damaged, or that another QEMU or processor made.
    """
    folder = frozen_folder(plan)
    try:
        facts = FrozenFacts.model_validate_json((folder / FACTS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise Unusable(f"its {FACTS_FILE} is damaged") from error
    if facts.digest != _facts_digest(facts):
        raise Unusable(f"its {FACTS_FILE} is damaged")
    for name, now in host_facts(plan).items():
        if facts.host.get(name) != now:
            raise Unusable(f"{name} is another one now")
    for name, expected in facts.files.items():
        try:
            found = file_digest(folder / name)
        except OSError as error:
            raise Unusable(f"its file {name} cannot be read: {error.strerror}") from error
        if found != expected:
            raise Unusable(f"its file {name} is damaged")
    return Frozen(folder, facts)


@contextmanager
def new_frozen(plan: Plan) -> Iterator[Path]:
    """Give a folder to freeze a plan's machine in; on a clean exit it takes its place.

    What stood in that place is replaced. `seal` must have been called on the folder. It is not
    synced to the disk: digests tell whether a crash has damaged it.
    """
    place = frozen_folder(plan)
    place.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(place.parent) as aside:
        new = aside / "new"
        new.mkdir(mode=0o700)
        yield new
        if place.is_dir():
            place.rename(aside / "old")
        new.rename(place)


def seal(
    folder: Path, *, plan: Plan, suspended: Suspended, facts: dict[str, object]
) -> FrozenFacts:
    """Write frozen.json beside the files of a machine that was suspended; return what it says."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = [str(path.relative_to(folder)) for path in paths]
    sealed = FrozenFacts.model_validate(
        {
            "disk": str(plan.image.disk.path),
            "disk_sha256": plan.image.disk.sha256,
            "instance_type": plan.profile.name,
            "created": datetime.now(UTC),
            "host": host_facts(plan),
            "elapsed_s": suspended.elapsed_s,
            "token_secret": suspended.token_secret.hex(),
            "files": {name: file_digest(folder / name) for name in names},
            **facts,
        }
    )
    write_facts(folder, sealed)
    return sealed


def write_facts(folder: Path, facts: FrozenFacts) -> None:
    """Write frozen.json, with a digest of what it says."""
    signed = facts.model_copy(update={"digest": _facts_digest(facts)})
    (folder / FACTS_FILE).write_text(signed.model_dump_json(by_alias=True, indent=2) + "\n")


def _facts_digest(facts: FrozenFacts) -> str:
    said = facts.model_dump_json(by_alias=True, exclude={"digest"})
    return hashlib.sha256(said.encode()).hexdigest()


def discard_frozen(frozen: Frozen) -> None:
    """Let nobody go on from a frozen machine any more; another in its place by now stays."""
    path = frozen.folder / FACTS_FILE
    with suppress(OSError, ValidationError):
        if FrozenFacts.model_validate_json(path.read_bytes()) == frozen.facts:
            path.unlink()


def copy_evidence(frozen: Frozen, folder: Path) -> None:
    """Begin a clone's evidence with what the frozen machine showed."""
    for name in EVIDENCE:
        (folder / name).write_bytes((frozen.folder / name).read_bytes())
    for name in XEN_EVIDENCE:
        if (frozen.folder / name).exists():
            (folder / name).write_bytes((frozen.folder / name).read_bytes())


def shown_lines(folder: Path) -> list[str]:
    """Return the lines of a console.log, without their times."""
    text = (folder / "console.log").read_text(encoding="utf-8", errors="replace")
    return [line.partition("] ")[2] for line in text.splitlines()]


def file_digest(path: Path) -> str:
    """Return a digest of a file's content; whether zeros in it are holes makes no difference."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(str(size).encode())
        for number, chunk in _chunks(file.fileno(), size):
            if chunk != _ZEROS[: len(chunk)]:
                digest.update(b"%d:" % number)
                digest.update(chunk)
    return digest.hexdigest()


def _chunks(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the chunks of a sparse file that are no holes, with their numbers (lseek(2))."""
    number = 0
    while (position := number * _CHUNK_BYTES) < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: holes up to the end
            return
        number = max(number, start // _CHUNK_BYTES)
        yield number, os.pread(descriptor, _CHUNK_BYTES, number * _CHUNK_BYTES)
        number += 1


def _storage(folder: Path, plan: Plan) -> Storage:
    disk = plan.image.disk.path.absolute()
    (below,) = plain_storage(disk, disk_format=plan.image.format).root.layers
    root = Drive((DiskLayer((folder / "root.qcow2").absolute(), "qcow2"), below))
    volumes = tuple(
        Drive((DiskLayer((folder / f"volume{number}.qcow2").absolute(), "qcow2"),))
        for number in range(len(plan.profile.instance_store_gib) + len(plan.volumes_gib))
    )
    return Storage(root, volumes)
