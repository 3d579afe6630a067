"""The root file system: mke2fs fills it, then its inodes get what the index says."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from imgforge.command import Setting, Streams, run, shorten, spawn
from imgforge.disk.ext import Dirent, ExtFilesystem
from imgforge.disk.inode_patch import BOOT_FOLDERS, patch_inodes
from imgforge.disk.plan import BLOCK_BYTES, INODE_BYTES, DiskPlan
from imgforge.errors import BadInputError, CommandError, HostError
from imgforge.recipe import FilesystemType
from imgforge.rootfs import Rootfs, TreeEntry

# What GRUB Legacy 0.97-80 reads: extents and 256-byte inodes, not 64bit, nor anything that would
# tie an inode's bytes to a checksum (metadata_csum), which the patch of the inodes relies on.
_COMMON_FEATURES = "ext_attr,resize_inode,dir_index,filetype,sparse_super,large_file"
_FEATURES = {
    FilesystemType.EXT2: _COMMON_FEATURES,
    FilesystemType.EXT3: f"has_journal,{_COMMON_FEATURES}",
    FilesystemType.EXT4: f"has_journal,{_COMMON_FEATURES},"
    "extent,flex_bg,huge_file,dir_nlink,extra_isize",
}
# The host's mke2fs.conf must not decide anything; without these names mke2fs warns.
_CONFIGURATION = "[fs_types]\n" + "".join(
    f"\t{name} = {{\n\t\tblocksize = {BLOCK_BYTES}\n\t}}\n"
    for name in ("ext2", "ext3", "ext4", "floppy", "small", "default", "big", "huge")
)
_TOO_SMALL = (b"Could not allocate", b"No free space", b"No free inodes", b"too small")
_NO_SPACE = b"No space left on device"
_TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True)
class FilesystemSpec:
    """What the file system is called, where every id in it comes from, and its time.

    `kept_uuid` is its own UUID where that is not to come of `identity`.
    """

    kind: FilesystemType
    label: str
    identity: uuid.UUID
    stamp_s: int
    kept_uuid: uuid.UUID | None = None

    @property
    def uuid(self) -> uuid.UUID:
        """The UUID by which the file system is found."""
        return self.kept_uuid or uuid.uuid5(self.identity, "file system")


class FilesystemFullError(BadInputError):
    """The tree does not fit into the file system."""


class HostFullError(HostError):
    """The host's own disk is full."""


def make_ext(
    disk: Path,
    *,
    plan: DiskPlan,
    spec: FilesystemSpec,
    rootfs: Rootfs,
    boot_files: Mapping[str, Path],
) -> None:
    """Put the tree into the root partition of `disk` as ext2, ext3 or ext4.

    `boot_files` go to /boot/grub under their names; without any, there need be no such folder. The
    disk's folder holds nothing else that
    matters: scratch files stand there for the time. Raises FilesystemFullError, HostFullError.
    """
    entries = _populate(disk, plan=plan, spec=spec, rootfs=rootfs)
    offset = plan.root.start_bytes
    with disk.open("rb") as file:
        filesystem = ExtFilesystem(file, offset=offset)
        dirents = dict(filesystem.walk())
        commands = _write_boot_files(filesystem, dirents, boot_files)
    for entry in entries:
        if entry.xattrs:
            number = dirents[_key(entry)].inode if entry.path != "." else 2
            commands += _set_xattrs(disk.parent, entry, number, len(commands))
    if commands:
        _run_debugfs(disk, commands, offset=offset, stamp_s=spec.stamp_s)
    patch_inodes(
        disk,
        offset=offset,
        entries=entries,
        dirents=dirents,
        boot_files=boot_files,
        stamp_s=spec.stamp_s,
    )


def _populate(
    disk: Path, *, plan: DiskPlan, spec: FilesystemSpec, rootfs: Rootfs
) -> list[TreeEntry]:
    """Run mke2fs, and read the index while it works."""
    configuration = disk.with_name("mke2fs.conf")
    configuration.write_text(_CONFIGURATION, encoding="ascii")
    arguments = mke2fs_arguments(disk.name, plan=plan, spec=spec, tree=rootfs.tree)
    environment = _fake_time(spec.stamp_s) | {"MKE2FS_CONFIG": configuration.name}
    process = spawn("mke2fs", arguments, setting=Setting(environment=environment, cwd=disk.parent))
    try:
        entries = list(rootfs.entries())
        exit_code = process.wait(_TIMEOUT_S)
    except BaseException:
        process.kill()
        raise
    if exit_code:
        _raise_failure(
            process.line, b"".join(process.output()), f"failed with exit code {exit_code}"
        )
    return entries


def mke2fs_arguments(
    disk: str, *, plan: DiskPlan, spec: FilesystemSpec, tree: Path
) -> list[str | Path]:
    """Return mke2fs's arguments that put `tree` into the root partition of the file `disk`."""
    extended = [
        f"offset={plan.root.start_bytes}",
        f"hash_seed={uuid.uuid5(spec.identity, 'hash seed')}",
        "lazy_itable_init=1",
        "lazy_journal_init=1",
        "no_copy_xattrs",  # the invoking user's own, as an SELinux host gives to every file
    ]
    arguments: list[str | Path] = ["-q", "-t", spec.kind.value, "-b", str(BLOCK_BYTES)]
    arguments += ["-I", str(INODE_BYTES), "-N", str(plan.inode_count), "-m", "1"]
    arguments += ["-L", spec.label, "-U", str(spec.uuid)]
    arguments += ["-O", f"none,{_FEATURES[spec.kind]}", "-E", ",".join(extended)]
    if spec.kind is not FilesystemType.EXT2:
        arguments += ["-J", f"size={plan.journal_mib}"]
    return [*arguments, "-d", tree.absolute(), disk, str(plan.root_bytes // BLOCK_BYTES)]


def _fake_time(stamp_s: int) -> dict[str, str]:
    return {"E2FSPROGS_FAKE_TIME": str(stamp_s)}


def _raise_failure(line: str, said_bytes: bytes, what: str) -> NoReturn:
    said = said_bytes.decode(errors="replace").strip()
    if _NO_SPACE in said_bytes:
        raise HostFullError(said)
    if any(text in said_bytes for text in _TOO_SMALL):
        raise FilesystemFullError(said)
    raise CommandError(f"{line.split()[0]} {what}:\n  {shorten(line, 1000)}\n{said}")


def _write_boot_files(
    filesystem: ExtFilesystem, dirents: Mapping[bytes, Dirent], boot_files: Mapping[str, Path]
) -> list[str]:
    """Return the debugfs commands that put the boot files in place, over any that stand there."""
    commands: list[str] = []
    if not boot_files:
        return commands
    for folder in BOOT_FOLDERS:
        dirent = dirents.get(folder)
        if dirent is None:
            commands.append(f"mkdir /{folder.decode()}")
        elif not filesystem.inode(dirent.inode).is_folder:
            raise BadInputError(
                f"The root tree's /{folder.decode()} is no folder; menu.lst needs one."
            )
    commands.append("cd /boot/grub")
    for name, source in boot_files.items():
        if BOOT_FOLDERS[-1] + b"/" + name.encode() in dirents:
            commands.append(f"rm {name}")
        commands.append(f'write "{source}" {name}')
    return commands


def _set_xattrs(scratch: Path, entry: TreeEntry, inode: int, serial: int) -> list[str]:
    commands: list[str] = []
    for name, value in sorted(entry.xattrs.items()):
        file = scratch / f"xattr-{serial + len(commands)}"
        file.write_bytes(value)
        commands.append(f'ea_set -f {file.name} <{inode}> "{name}"')
    return commands


def _run_debugfs(disk: Path, commands: Sequence[str], *, offset: int, stamp_s: int) -> None:
    script = disk.with_name("debugfs.commands")
    script.write_text("\n".join([*commands, ""]), encoding="utf-8")
    completed = run(
        "debugfs",
        ["-w", "-f", script.name, f"{disk.name}?offset={offset}"],
        streams=Streams(),
        setting=Setting(environment=_fake_time(stamp_s), cwd=disk.parent),
        timeout_s=_TIMEOUT_S,
    )
    # It exits 0 whatever happens; after its banner every line of stderr is a complaint.
    complaints = b"\n".join(completed.stderr.splitlines()[1:]).strip()
    if complaints:
        _raise_failure(completed.line, complaints, "could not do all it was asked")


def _key(entry: TreeEntry) -> bytes:
    return entry.path.encode(errors="surrogateescape")
