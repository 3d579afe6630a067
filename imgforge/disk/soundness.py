"""Whether a file system is sound, as its own checker finds: e2fsck, xfs_repair.

What reads a tree here believes the folders and block maps that it finds. Of a damaged one it would
give a tree with files missing, and nobody would be told.
"""

import re
from pathlib import Path

from imgforge.command import Completed, Setting, run
from imgforge.disk.sparse_copy import copy_data
from imgforge.disk.volume import Volume, VolumeKind
from imgforge.errors import BadInputError
from imgforge.files import scratch_folder
from imgforge.progress import warn

_TIMEOUT_S = 3600.0
_SECTOR_BYTES = 512
_SOUND = {0, 1}
"""Nothing is wrong, or no more (fsck(8))."""
_CODES = range(256)
_TOLD_LINES = 2
_FINDING = re.compile(r"(?i)\bbad\b|corrupt|crc|error|invalid|illegal|zero-length|damaged|wrong")


def require_sound(disk: Path, volume: Volume, *, aside: Path) -> None:
    """Raise BadInputError where a volume's file system, which was unmounted, is damaged.

    The disk is only read. xfs_repair knows no partitions: of one there, the data is copied into a
    folder in `aside` for the time.
    """
    with scratch_folder(aside) as scratch:
        place = scratch / "disk"
        if volume.kind is not VolumeKind.XFS:
            place.symlink_to(disk.absolute())
            _judge(disk, volume, _check("e2fsck", "-fn", _at(place, volume), cwd=scratch), {0})
            return
        if volume.partition is None:
            place.symlink_to(disk.absolute())
        else:
            with place.open("xb") as file:
                file.truncate(volume.partition.sector_count * _SECTOR_BYTES)
            copy_data(disk, place, start_bytes=volume.start_bytes)
        _judge(disk, volume, _check("xfs_repair", "-n", place.name, cwd=scratch), {0})


def make_sound(copy: Path, volume: Volume, *, disk: Path) -> None:
    """Replay an ext file system's journal in a copy of `disk`, and do what else a boot would.

    Raises BadInputError where that needs a person.
    """
    done = _check("e2fsck", "-fp", _at(copy, volume), cwd=copy.parent)
    _judge(disk, volume, done, _SOUND)
    if told := _told(done):
        warn(f"Disk {disk}: e2fsck mended in the copy: {told}")


def _at(disk: Path, volume: Volume) -> str:
    return f"{disk.name}?offset={volume.start_bytes}"


def _check(program: str, option: str, place: str, *, cwd: Path) -> Completed:
    return run(
        program,
        [option, place],
        setting=Setting(cwd=cwd),
        timeout_s=_TIMEOUT_S,
        accepted_exit_codes=_CODES,
    )


def _judge(disk: Path, volume: Volume, checked: Completed, sound: set[int]) -> None:
    if checked.exit_code in sound:
        return
    mending = "xfs_repair" if volume.kind is VolumeKind.XFS else "e2fsck -f"
    raise BadInputError(
        f"Disk {disk}: the {volume.kind.value} file system in {volume.name} is damaged: "
        f"{_told(checked) or 'it ended with ' + str(checked.exit_code)}.",
        hint=f"{mending} on a copy of it may mend it; look at what it takes away.",
    )


def _told(checked: Completed) -> str:
    """Return the first lines of what a checker found."""
    lines = (checked.stderr + checked.stdout).decode(errors="replace").splitlines()
    found = [line.strip().rstrip(".") for line in lines if _FINDING.search(line)]
    told = "; ".join(found[:_TOLD_LINES])
    return "".join(one if one.isprintable() else "?" for one in told)  # names are the disk's
