"""A machine's root volume becomes an instance-store bundle: tree, corrections, disk, bundle."""

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from imgforge import host
from imgforge.bundle import (
    Bundle,
    BundleWish,
    Existing,
    MachineConfiguration,
    Mapping,
    Signers,
    check_wish,
    create_bundle,
)
from imgforge.disk import (
    TreeDiskWish,
    Weight,
    enough_bytes,
    examine_menu,
    make_tree_disk,
)
from imgforge.errors import BadInputError, HostError
from imgforge.files import scratch_folder
from imgforge.layout import Layout, PartitionKind
from imgforge.progress import report, warn
from imgforge.recipe import FilesystemType
from imgforge.rootfs import PlainTree, Rootfs
from imgforge.volume import (
    EMPTIED,
    Inherited,
    LeftOut,
    Rules,
    Selection,
    ask_instance,
    check_fstab,
    gather,
    summarize,
)
from imgforge.volume_correction import (
    add_stages,
    correct_fstab,
    correct_menu,
    fstab_root,
    named_root,
)
from imgforge.volume_source import LARGEST_BYTES, VolumeSource, excluded_paths, place_in

_MIB = 2**20
_MBR_FIRST_LBA = 63  # as the AMI tools: where the first track ended
_KINDS = frozenset(kind.value for kind in FilesystemType)
_DEFAULT_KIND = FilesystemType.EXT3
_LONGEST_LABEL = {FilesystemType.XFS: 12}


@dataclass(frozen=True, slots=True)
class VolumeWish:
    """What of a volume is wanted, and how its disk is to be.

    What is None is the source's. `excluded` are folders or files left out, `included` what the
    filter is to let through; `fstab` is in place of the image's own, and with `generates_fstab` one
    is written for EC2. With `inherits` the machine's metadata service is asked for what is not
    given.
    """

    partition: PartitionKind | None = None
    size_bytes: int | None = None
    filesystem: FilesystemType | None = None
    excluded: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    filtered: bool = True
    fstab: bytes | None = None
    generates_fstab: bool = False
    inherits: bool = True


def read_fstab(path: Path | None) -> bytes | None:
    """Read the fstab that an image is to have. Raises BadInputError for what is none."""
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"Fstab {path}: cannot be read: {error.strerror}.") from None
    check_fstab(data, origin=f"Fstab {path}")
    return data


@dataclass(frozen=True, slots=True)
class VolumeDisk:
    """The disk that was made of a volume, and all that is not as in its source."""

    partition: PartitionKind
    filesystem: FilesystemType
    label: str
    identity: uuid.UUID | None
    size_bytes: int
    left_out: tuple[LeftOut, ...]
    changed: tuple[str, ...]
    corrections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeBundle:
    """A bundle of a volume; the disk was removed once it was bundled."""

    bundle: Bundle
    disk: VolumeDisk


def bundle_volume(
    source: VolumeSource,
    wish: VolumeWish,
    *,
    bundle: BundleWish,
    signers: Signers,
    destination: Path,
    existing: Existing = Existing.REFUSE,
) -> VolumeBundle:
    """Bundle a volume into the folder `destination`; what is made on the way stands aside there.

    Raises BadInputError for what cannot be bundled, or would not boot, HostError where the host
    fails; then nothing new is there.
    """
    check_wish(bundle, destination=destination, existing=existing)
    inherited = _ask(source, wish)
    named = _inherit(bundle, inherited)
    check_wish(named, destination=destination, existing=existing)
    place = destination
    while not place.is_dir():
        place = place.parent
    with _told_full(place), scratch_folder(place) as aside:
        made = make_volume_disk(source, wish, aside=aside, mappings=named.machine.mappings)
        bundled = create_bundle(
            aside / "disk" / "image",
            wish=named,
            signers=signers,
            destination=destination,
            existing=existing,
        )
    return VolumeBundle(bundled, made)


@contextmanager
def _told_full(folder: Path) -> Iterator[None]:
    """Tell a full disk; what else fails may be the source's."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise HostError(
            f"Folder {folder}: no space is left on its file system for the volume's tree, its disk "
            "and its bundle.",
            hint="Free some, or name a place elsewhere with --out (-d).",
        ) from error


def make_volume_disk(
    source: VolumeSource, wish: VolumeWish, *, aside: Path, mappings: tuple[Mapping, ...] = ()
) -> VolumeDisk:
    """Make the disk of a volume as ASIDE/disk/image; what is read goes through ASIDE/tree.

    `aside` is an empty folder, in the folder that the bundle goes to. Raises as bundle_volume.
    """
    partition = wish.partition or source.partition or PartitionKind.GPT
    with source.using():
        tree, selection = _read(source, wish, aside=aside, layout=partition.layout)
        facts = _settle(source, wish, tree=tree, layout=partition.layout)
        corrections = [
            *correct_fstab(
                tree,
                facts,
                given=wish.fstab,
                generated=wish.generates_fstab,
                mappings=mappings,
            ),
            *correct_menu(tree, source, facts=facts),
        ]
    if not facts.layout.is_pv:
        add_stages(tree, facts.kind)
    rootfs = _finish(tree, aside)
    facts = _fit(facts, source, wish=wish, rootfs=rootfs)
    report(f"disk: {partition}, {(facts.size_bytes or 0) // _MIB} MiB, {facts.kind}")
    (aside / "disk").mkdir()
    disk = aside / "disk" / "image"
    size_bytes = make_tree_disk(rootfs, facts, destination=disk)
    for left_over in (aside / "tree", aside / "index"):
        shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
    _warn_of_menu(disk, facts.layout)
    _tell(selection, corrections)
    return VolumeDisk(
        partition=partition,
        filesystem=facts.kind,
        label=facts.label,
        identity=facts.kept_uuid,
        size_bytes=size_bytes,
        left_out=tuple(selection.left_out),
        changed=tuple(selection.changed),
        corrections=tuple(corrections),
    )


def _ask(source: VolumeSource, wish: VolumeWish) -> Inherited:
    """Ask the machine's metadata service what its image is to inherit, and tell what it said."""
    endpoint = host.metadata_endpoint()
    if not (wish.inherits and source.is_folder and endpoint):
        return Inherited()
    inherited = ask_instance(endpoint)
    if inherited is None:
        report(f"metadata: nobody answers at {endpoint}: nothing is inherited from an instance")
        return Inherited()
    found = [inherited.kernel_id, inherited.ramdisk_id, *inherited.product_codes]
    found += [f"{virtual}={device}" for virtual, device in inherited.mappings]
    report(f"metadata: inherited {', '.join(filter(None, found)) or 'nothing'}")
    return inherited


def _inherit(bundle: BundleWish, inherited: Inherited) -> BundleWish:
    """Return the wish with what was not given taken from the instance."""
    machine = bundle.machine
    mappings = tuple(Mapping(virtual, device) for virtual, device in inherited.mappings)
    return replace(
        bundle,
        machine=MachineConfiguration(
            architecture=machine.architecture,
            mappings=machine.mappings or mappings,
            kernel_id=machine.kernel_id or inherited.kernel_id,
            ramdisk_id=machine.ramdisk_id or inherited.ramdisk_id,
            product_codes=machine.product_codes or inherited.product_codes,
        ),
        ancestors=bundle.ancestors or inherited.ancestors,
    )


def _read(
    source: VolumeSource, wish: VolumeWish, *, aside: Path, layout: Layout
) -> tuple[PlainTree, Selection]:
    """Copy what is kept of the tree to ASIDE/tree."""
    excluded = excluded_paths(source, wish.excluded)
    rules = Rules(
        excluded=excluded,
        mounts=source.mounts((*EMPTIED, *excluded)) if source.mounts else {},
        bundle_folder=place_in(source, aside.parent),
        included=wish.included,
        filtered=wish.filtered,
    )
    selection = Selection(rules)
    report(f"tree: reading {source.path}")
    tree = PlainTree(aside / "tree", origin=f"Volume {source.path}", mtime_s=0)
    gather(source.read(selection, layout, aside), tree=tree, selection=selection)
    if unmet := selection.unmet_exclusions():
        raise BadInputError(
            f"Volume {source.path}: there is no {unmet[0]!r} to be excluded.",
            hint="Nothing would be left out by it.",
        )
    for text in selection.unused_inclusions():
        warn(f"Include {text!r}: the filter held nothing of that name back.")
    root = tree.get(".")
    tree.mtime_s = root.mtime_s if root else 0
    if root is not None and root.uid != 0:
        warn(
            f"Volume {source.path}: its root folder belongs to {root.uid}:{root.gid}, not to root; "
            "all owners stay as they are."
        )
    return tree, selection


def _settle(
    source: VolumeSource, wish: VolumeWish, *, tree: PlainTree, layout: Layout
) -> TreeDiskWish:
    """Decide the file system: what is asked for, else the source's or the tree's word."""
    line = fstab_root(tree, wish.fstab)
    kind_text = source.kind or (line.kind if line else "")
    kind = wish.filesystem or (FilesystemType(kind_text) if kind_text in _KINDS else _DEFAULT_KIND)
    if kind_text not in _KINDS and kind_text and wish.filesystem is None:
        warn(f"Volume {source.path}: is {kind_text}, which GRUB Legacy cannot read: {kind} it is.")
    if kind is FilesystemType.XFS:
        warn(
            f"Volume {source.path}: the image's xfs is of version 4, the last that GRUB Legacy "
            "reads; a kernel without CONFIG_XFS_SUPPORT_V4 does not mount it."
        )
    if line and line.kind not in {kind.value, "auto"}:
        warn(f"Volume {source.path}: fstab mounts / as {line.kind}; the image's is {kind}.")
    label, identity = source.label, source.identity
    if label is None and identity is None and source.is_folder:
        label, identity = named_root(tree, line)
    label = label or ""
    longest = _LONGEST_LABEL.get(kind, 16)
    if len(label.encode(errors="surrogateescape")) > longest:
        raise BadInputError(
            f"Volume {source.path}: its label {label!r} has more than the {longest} bytes that "
            f"{kind} holds.",
            hint="Choose another file system with --filesystem.",
        )
    return TreeDiskWish(
        layout=layout,
        kind=kind,
        label=label,
        kept_uuid=identity,
        first_lba=_MBR_FIRST_LBA,
    )


def _fit(
    facts: TreeDiskWish, source: VolumeSource, *, wish: VolumeWish, rootfs: Rootfs
) -> TreeDiskWish:
    """Decide the size: what is asked for, else the source's, or what its content needs."""
    if wish.size_bytes is not None:
        size_bytes = wish.size_bytes
    else:
        enough = enough_bytes(rootfs, facts)
        size_bytes = max(source.size_bytes or enough, enough)
    if size_bytes > LARGEST_BYTES:
        raise BadInputError(
            f"Volume {source.path}: an image of {-(-size_bytes // _MIB)} MiB would be needed; EC2 "
            f"takes instance-store images up to {LARGEST_BYTES // _MIB} MiB.",
            hint="Leave something out with --exclude (-e), or give a smaller --size (-s).",
        )
    return replace(facts, size_bytes=size_bytes)


def _finish(tree: PlainTree, aside: Path) -> Rootfs:
    index = aside / "index"
    sha256, content_bytes = tree.finish(index)
    return Rootfs(tree.folder, index, sha256, "", content_bytes)


def _warn_of_menu(disk: Path, layout: Layout) -> None:
    """Say what would keep the image from booting, as far as menu.lst tells."""
    if layout.is_pv:
        return
    for finding in examine_menu(disk).findings:
        if finding.weight is Weight.ERROR:
            warn(f"menu.lst: {finding.found}; needed: {finding.rule.needed}")


def _tell(selection: Selection, corrections: list[str]) -> None:
    for line in corrections:
        report(line)
    report(f"left out: {summarize(selection.left_out) or 'nothing'}")
    for path in selection.surprising:
        warn(f"/{path}: is left out, since a private key or a cloud's secret key is in it.")
    for path in selection.changed:
        warn(f"/{path}: was written to while it was read; the image has what was read.")
