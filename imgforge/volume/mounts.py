"""What is mounted below a tree, and which of it belongs to an image (proc_pid_mountinfo(5))."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
# What a disk of the machine holds: as the AMI tools, which take these in without --all.
_DISK_KINDS = frozenset({"ext2", "ext3", "ext4", "xfs", "jfs", "reiserfs", "btrfs", "f2fs"})
# What the kernel shows, and what is in memory only: no content, whatever --all says.
_KERNEL_KINDS = frozenset(
    {
        *("proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "mqueue", "hugetlbfs", "cgroup"),
        *("cgroup2", "debugfs", "tracefs", "securityfs", "pstore", "efivarfs", "bpf", "configfs"),
        *("fusectl", "binfmt_misc", "autofs", "rpc_pipefs", "nfsd", "selinuxfs", "nsfs"),
    }
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount: its place, kind and source, its device's number, and which folder of it is shown."""

    place: str
    kind: str
    source: str
    device: tuple[int, int]
    root: str


def read_mounts() -> tuple[Mount, ...]:
    """Return what is mounted, as this process sees it."""
    text = _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    return tuple(parse_mounts(text.splitlines()))


def parse_mounts(lines: Iterable[str]) -> list[Mount]:
    """Parse mountinfo; a later mount hides an earlier one of the same place."""
    found: dict[str, Mount] = {}
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields, more = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(more) < 2:
            continue
        major, _, minor = fields[2].partition(":")
        place = _unescape(fields[4])
        device = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
        found.pop(place, None)
        found[place] = Mount(place, more[0], _unescape(more[1]), device, _unescape(fields[3]))
    return list(found.values())


def mount_of(folder: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return what is mounted at `folder` itself, or None."""
    return next((mount for mount in mounts if mount.place == folder), None)


def left_out_mounts(
    folder: str, mounts: Iterable[Mount], *, all_of_them: bool, unseen: Iterable[str] = ()
) -> dict[str, str]:
    """Return the paths in the tree at `folder` whose content stays out, each with its kind.

    Without `all_of_them` only file systems of disks are taken in. What the kernel makes up or
    holds in memory never is, nor a folder that is only shown a second time (mount --bind). What is
    mounted in the paths `unseen`, which are left out anyway, is no first time.
    """
    every = list(mounts)
    prefix = folder.rstrip("/") + "/"
    below = {
        mount.place[len(prefix) :]: mount
        for mount in every
        if mount.place.startswith(prefix) and mount.place != prefix
    }
    left_out = {
        path: mount.kind
        for path, mount in below.items()
        if mount.kind in _KERNEL_KINDS or not (all_of_them or mount.kind in _DISK_KINDS)
    }
    closed = tuple(f"{path}/" for path in (*unseen, *left_out))
    own = mount_of(folder, every)
    shown = [own] if own else []
    # What shows most of a device comes first: of /home and a bind of /home/me, /home stays.
    for path, mount in sorted(below.items(), key=lambda one: (len(one[1].root), one[0])):
        if path in left_out or f"{path}/".startswith(closed):
            continue
        if _is_shown_again(mount, shown):
            left_out[path] = "bind"
        else:
            shown.append(mount)
    return left_out


def _is_shown_again(mount: Mount, shown: Iterable[Mount]) -> bool:
    """Tell whether a mount shows what another one shows; btrfs has subvolumes of one device."""
    return mount.kind != "btrfs" and any(
        other.device == mount.device
        and (mount.root == other.root or mount.root.startswith(other.root.rstrip("/") + "/"))
        for other in shown
    )


def _unescape(text: str) -> str:
    return os.fsdecode(
        re.sub(
            rb"\\([0-7]{3})",
            lambda match: bytes([int(match[1], 8) & 0xFF]),
            os.fsencode(text),
        )
    )
