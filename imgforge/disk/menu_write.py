"""menu.lst put into a copy of a disk: ext2, ext3 or ext4, by debugfs, without mounting or root."""

import os
import re
import shutil
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

from imgforge.command import Setting, Streams, run
from imgforge.disk.ext import S_IFLNK, S_IFMT, S_IFREG, ExtFilesystem, Inode
from imgforge.disk.menu_check import examine_menu
from imgforge.disk.menu_edit import NewEntry, add_entry, first_with_kernel
from imgforge.disk.menu_facts import look_at
from imgforge.disk.menu_lines import read_lines
from imgforge.disk.menu_parser import MenuTitle, parse_menu
from imgforge.disk.menu_place import FoundMenu, find_menus, place_name
from imgforge.disk.record import data_runs
from imgforge.disk.volume import Volume, read_volumes
from imgforge.errors import BadInputError, CommandError
from imgforge.files import appearing, told_writing

_TIMEOUT_S = 300
_MOST_LINKS = 16
_PLAIN_NAME = re.compile(rb"[A-Za-z0-9._][A-Za-z0-9._-]*")
_INCOMPAT_RECOVER = 0x4
_CHUNK_BYTES = 2**22


def read_first_menu(disk: Path) -> FoundMenu:
    """Return the menu.lst that is read at boot: the first of the nine places, else a grub.conf.

    Raises BadInputError where there is none, or it cannot be read.
    """
    volumes = read_volumes(disk)
    with tempfile.TemporaryDirectory(prefix="imgforge-menu-") as folder:
        for name in ("menu.lst", "grub.conf"):
            found = next(find_menus(disk, volumes, folder=Path(folder), name=name), None)
            if found is not None:
                return found
    raise BadInputError(
        f"Disk {disk}: no menu.lst in any of PV-GRUB's nine places, nor a grub.conf.",
        hint="Put one at /boot/grub/menu.lst of its root file system.",
    )


def edit_disk(disk: Path, entry: NewEntry, *, destination: Path) -> FoundMenu:
    """Write a copy of `disk` to `destination` whose menu.lst has `entry` first; return it as read.

    `destination` appears whole or not at all; it may be `disk` itself, which is then replaced by
    the copy. Owner, mode and name of menu.lst stay; of a symbolic link, what it leads to is
    changed. Raises BadInputError where menu.lst does not stand in ext2, ext3 or ext4, or cannot be
    changed there, and for an entry whose kernel or initrd is not on the disk.
    """
    found = read_first_menu(disk)
    data = add_entry(found.data, _with_inheritance(disk, entry, found=found))
    volumes = read_volumes(disk)
    volume = next(v for v in volumes if v.number == found.number)
    if not volume.kind.is_ext:
        raise BadInputError(
            f"Disk {disk}: {found.name} stands in {volume.kind}; only ext2, ext3 and ext4 can be "
            "changed without mounting.",
            hint="Change it in a running machine, or in the recipe that the disk is built from.",
        )
    _check_entry(disk, volumes, number=found.number, data=data)
    with told_writing(destination.parent, "the changed disk"), appearing(destination) as new:
        copy_sparse(disk, new)
        _write(new, volume, found=found, data=data)
        written = read_first_menu(new)
        if written.data != data or written.name != found.name:
            raise CommandError(f"debugfs did not write {found.name}: read again, it is another.")
    return written


def _with_inheritance(disk: Path, entry: NewEntry, *, found: FoundMenu) -> NewEntry:
    """Return an entry with root and command line of the one that boots now, where it has none."""
    if entry.root is not None and entry.command_line is not None:
        return entry
    examined = examine_menu(disk)
    read = examined.facts.found or found  # another one, where a configfile leads there
    sound = [each for each in examined.facts.entries if each.entry.kernel and not each.problems]
    sound.sort(key=lambda each: _turn(read, each.index, first=examined.boots))
    old = sound[0].entry if sound else first_with_kernel(read.menu)
    if old is None:
        if entry.command_line is not None:
            return entry
        raise BadInputError(
            f"Disk {disk}: no entry of {read.name} names a kernel whose command line the new one "
            "could have.",
            hint='Give the new entry\'s own: --command-line "root=… console=…".',
        )
    if entry.command_line is None:
        _check_words(disk, read, old)
    root = old.root or (place_name(read.number, "") if read.number != found.number else None)
    return replace(
        entry,
        root=entry.root or root,
        command_line=old.command_line if entry.command_line is None else entry.command_line,
    )


def _check_words(disk: Path, found: FoundMenu, old: MenuTitle) -> None:
    """Raise BadInputError where the command line of `old` is not shown here as its bytes are."""
    last = [command.line for command in old.commands if command.name == "kernel"][-1]
    for line in read_lines(found.data):
        if line.command == b"kernel" and line.place()[0] == last:
            text = line.argument.decode(errors="surrogateescape")
            if not text.isprintable():
                raise BadInputError(
                    f"Disk {disk}: the command line of {found.name}, line {last}, has control "
                    "characters or what is no UTF-8: it cannot be taken over.",
                    hint='Give the new entry\'s own: --command-line "root=… console=…".',
                )


def _turn(found: FoundMenu, index: int, *, first: int | None) -> int:
    order = found.menu.order
    return -1 if index == first else order.index(index) if index in order else len(order) + index


def _check_entry(disk: Path, volumes: tuple[Volume, ...], *, number: int, data: bytes) -> None:
    """Raise BadInputError where what the first entry names is not there: it would never boot."""
    entry = parse_menu(data).entries[0]
    with tempfile.TemporaryDirectory(prefix="imgforge-menu-") as folder:
        facts = look_at(disk, volumes, place=(number, 0, entry), folder=Path(folder))
    if facts.problems:
        found = "; ".join(found.rstrip(".") for _, found in facts.problems)
        raise BadInputError(
            f"Disk {disk}: the new entry would not boot: {found}.",
            hint="Install the kernel and its initrd first, and name them as seen from the entry's "
            "root; imgforge menu-lst show tells what is there.",
        )


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its mode; holes stay holes."""
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.truncate(os.fstat(reader.fileno()).st_size)
        for start, end in data_runs(reader.fileno()):
            position = start
            while position < end:
                count = min(_CHUNK_BYTES, end - position)
                data = os.pread(reader.fileno(), count, position)
                if not data:
                    raise BadInputError(f"Disk {source}: it changed while it was copied.")
                os.pwrite(writer.fileno(), data, position)
                position += len(data)
    shutil.copymode(source, target)


def _write(disk: Path, volume: Volume, *, found: FoundMenu, data: bytes) -> None:
    offset = volume.partition.start_bytes if volume.partition else 0
    with disk.open("rb") as file:
        filesystem = ExtFilesystem(file, offset=offset)
        if filesystem.superblock.feature_incompat & _INCOMPAT_RECOVER:
            raise BadInputError(
                f"Disk {disk}: the file system in {volume.name} was not unmounted; its journal "
                "must be replayed first.",
                hint="Boot it once and shut it down, or run e2fsck on it.",
            )
        folder, name, inode = _locate(filesystem, found)
    source = disk.with_name("menu.lst")
    source.write_bytes(data)
    uid, gid = _owner(inode)
    commands = [
        f"cd <{folder}>",
        f"rm {name}",
        f"write {source.name} {name}",
        f"sif {name} mode 0{inode.mode:o}",
        f"sif {name} uid {uid}",
        f"sif {name} gid {gid}",
    ]
    script = disk.with_name("debugfs.commands")
    script.write_text("\n".join([*commands, ""]), encoding="ascii")
    completed = run(
        "debugfs",
        ["-w", "-f", script.name, f"{disk.name}?offset={offset}"],
        streams=Streams(),
        setting=Setting(cwd=disk.parent),
        timeout_s=_TIMEOUT_S,
    )
    # It exits 0 whatever happens; after its banner every line of stderr is a complaint.
    complaints = b"\n".join(completed.stderr.splitlines()[1:]).decode(errors="replace").strip()
    if complaints:
        raise BadInputError(f"{found.name} cannot be written: {complaints}")


def _owner(inode: Inode) -> tuple[int, int]:
    low_uid, low_gid = (struct.unpack_from("<H", inode.raw, place)[0] for place in (2, 24))
    high_uid, high_gid = struct.unpack_from("<HH", inode.raw, 120)
    return low_uid | high_uid << 16, low_gid | high_gid << 16


def _locate(filesystem: ExtFilesystem, found: FoundMenu) -> tuple[int, str, Inode]:
    """Return the folder's inode, the name and the inode of the file that a menu's path leads to."""
    path = os.fsencode(found.path)
    for _ in range(_MOST_LINKS):
        folder_path, _, name = path.rpartition(b"/")
        folder = filesystem.find(folder_path)
        if folder is None or not folder.is_folder:
            break
        dirent = next((d for d in filesystem.list_folder(folder) if d.name == name), None)
        if dirent is None:
            break
        inode = filesystem.inode(dirent.inode)
        if inode.mode & S_IFMT == S_IFLNK:
            target = filesystem.read_symlink(inode)
            path = target if target.startswith(b"/") else folder_path + b"/" + target
            continue
        if inode.mode & S_IFMT != S_IFREG or _PLAIN_NAME.fullmatch(name) is None:
            break
        return folder.number, name.decode("ascii"), inode
    raise BadInputError(f"{found.name} cannot be written: it leads to no plain file.")
