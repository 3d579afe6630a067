"""The files of a machine's disks: chains of layers, of which only the top is written to."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imgforge.command import run
from imgforge.errors import BadInputError

_CREATE_LIMIT_S = 60.0
_FLATTEN_LIMIT_S = 600.0
_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_HEADER = struct.Struct(">4s20xQ")


@dataclass(frozen=True, slots=True)
class DiskLayer:
    """A file of a disk's chain; `format` is QEMU's name for it ("raw", "qcow2")."""

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class Drive:
    """One disk: its layers, the one that is written to first."""

    layers: tuple[DiskLayer, ...]


@dataclass(frozen=True, slots=True)
class Storage:
    """A machine's disks: the root and, in the order of their letters, its further volumes."""

    root: Drive
    volumes: tuple[Drive, ...] = ()


def plain_storage(disk: Path, *, disk_format: str = "raw") -> Storage:
    """Return a storage of one disk that is a single file."""
    return Storage(Drive((DiskLayer(disk, disk_format),)))


def lay_over(below: Storage, folder: Path, *, root_bytes: int | None = None) -> Storage:
    """Make empty qcow2 layers in `folder`, one above each disk of `below`, and return them all.

    `root_bytes` makes the root disk larger than it is below. Raises CommandError.
    """
    root = _overlay(below.root, folder / "root.qcow2", size_bytes=root_bytes)
    volumes = tuple(
        _overlay(drive, folder / f"volume{number}.qcow2")
        for number, drive in enumerate(below.volumes)
    )
    return Storage(root, volumes)


def create_volume(path: Path, *, size_bytes: int) -> Drive:
    """Make a blank volume, which takes room only as it is written to. Raises CommandError."""
    _create(path, size_bytes=size_bytes)
    return Drive((DiskLayer(path.absolute(), "qcow2"),))


def flatten(drive: Drive, path: Path) -> Path:
    """Write what a guest would read of a drive to a new sparse raw file; return its path.

    Nobody may write to the drive meanwhile. Raises CommandError.
    """
    source = f"json:{json.dumps(drive_node(drive, 'flattened'))}"
    arguments: list[str | Path] = ["convert", "-q", "-O", "raw", source, path.absolute()]
    run("qemu-img", arguments, timeout_s=_FLATTEN_LIMIT_S)
    return path


def virtual_bytes(layer: DiskLayer) -> int:
    """Return the size of a disk as its guest sees it.

    Raises BadInputError for a qcow2 that is none (docs/interop/qcow2.txt of QEMU).
    """
    if layer.format != "qcow2":
        return layer.path.stat().st_size
    with layer.path.open("rb") as file:
        header = file.read(_QCOW2_HEADER.size)
    if len(header) == _QCOW2_HEADER.size:
        magic, size_bytes = _QCOW2_HEADER.unpack(header)
        if magic == _QCOW2_MAGIC:
            return int(size_bytes)
    raise BadInputError(f"Disk {layer.path}: is no qcow2.")


def drive_node(drive: Drive, name: str) -> Mapping[str, object]:
    """Return what `-blockdev` (QMP's blockdev-add) takes for a drive; its root node has `name`.

    Each layer names the one below it, whatever its file says: a frozen machine's disk may have
    been moved since.
    """
    top, *below = drive.layers
    node = _layer_node(top)
    inner = node
    for layer in below:
        following = _layer_node(layer, is_written=False)
        inner["backing"] = following
        inner = following
    return {**node, "node-name": name, "discard": "unmap"}


def _layer_node(layer: DiskLayer, *, is_written: bool = True) -> dict[str, object]:
    # The top is thrown away: nobody needs its writes to survive a power cut.
    cache = {"direct": False, "no-flush": True}
    file: dict[str, object] = {
        "driver": "file",
        "filename": str(layer.path),
        "cache": cache,
        **({"discard": "unmap"} if is_written else {}),
    }
    reading = {} if is_written else {"read-only": True}
    return {"driver": layer.format, "cache": cache, "file": {**file, **reading}, **reading}


def _overlay(drive: Drive, path: Path, *, size_bytes: int | None = None) -> Drive:
    below = drive.layers[0]
    # Unlooked at (-u): what a frozen layer says of the one below it may be of another place.
    # Absolute: a relative name such as "nbd:x" or "-x" would mean something else to qemu-img.
    backing = ("-u", "-b", below.path.absolute(), "-F", below.format)
    _create(path, size_bytes=size_bytes or virtual_bytes(below), backing=backing)
    layers = tuple(DiskLayer(layer.path.absolute(), layer.format) for layer in drive.layers)
    return Drive((DiskLayer(path.absolute(), "qcow2"), *layers))


def _create(path: Path, *, size_bytes: int, backing: tuple[str | Path, ...] = ()) -> None:
    arguments = ["create", "-q", "-f", "qcow2", *backing, path.absolute(), str(size_bytes)]
    run("qemu-img", arguments, timeout_s=_CREATE_LIMIT_S)
