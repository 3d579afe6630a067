"""GRUB Legacy: which files of it a disk needs, and writing its boot code without root."""

import re
from dataclasses import dataclass
from pathlib import Path

from imgforge.command import Setting, Streams, run
from imgforge.disk.menu import grub_root
from imgforge.disk.partition import FIRST_LBA, SECTOR_BYTES
from imgforge.errors import HostError, MissingProgramError
from imgforge.recipe import FilesystemType, Layout

_STAGE_FOLDERS = (
    Path("/usr/lib/grub/x86_64-pc"),
    Path("/usr/lib/grub/i386-pc"),
    Path("/usr/local/lib/grub/x86_64-pc"),  # scripts/setup, where grub-legacy's package conflicts
)
_ERROR = re.compile(rb"Error (\d+): ([^\r\n]*)")
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Stages:
    """GRUB Legacy's own files on this machine."""

    stage1: Path
    stage2: Path
    stage1_5: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """What belongs in /boot/grub."""
        return (self.stage1, self.stage2, self.stage1_5)


def find_stages(kind: FilesystemType) -> Stages:
    """Return GRUB's files for a root file system of `kind`.

    Raises MissingProgramError where GRUB Legacy is not installed.
    """
    name = "xfs_stage1_5" if kind is FilesystemType.XFS else "e2fs_stage1_5"
    for folder in _STAGE_FOLDERS:
        stages = Stages(folder / "stage1", folder / "stage2", folder / name)
        if all(path.is_file() for path in stages.all):
            return stages
    raise MissingProgramError(
        "GRUB Legacy: its stage1, stage2 and stage1_5 are in none of "
        f"{', '.join(map(str, _STAGE_FOLDERS))}.",
        hint="Install it: scripts/setup, or by hand the package grub-legacy (Debian, Ubuntu).",
    )


def install(disk: Path, *, layout: Layout, stages: Stages) -> None:
    """Write the boot code of an hvm disk, whose root file system holds the stages already.

    On an MBR disk stage1_5 stands behind the MBR; on a GPT disk in the BIOS boot partition.
    Raises HostError with GRUB's own words: `grub --batch` exits 0 whatever happens.
    """
    root = grub_root(layout)
    if layout is Layout.HVM_GPT:
        code = stages.stage1_5.read_bytes()
        with disk.open("r+b") as file:
            file.seek(FIRST_LBA * SECTOR_BYTES)
            file.write(code)
        blocks = f"{FIRST_LBA}+{-(-len(code) // SECTOR_BYTES)}"
        last = (
            f"install /boot/grub/stage1 (hd0) (hd0){blocks} p {root}/boot/grub/stage2 "
            "/boot/grub/menu.lst"
        )
    else:
        last = "setup (hd0)"
    # In its own folder: GRUB's command line cannot quote a name.
    commands = f"device (hd0) {disk.name}\nroot {root}\n{last}\nquit\n"
    completed = run(
        "grub",
        ["--batch", "--no-floppy", "--device-map=/dev/null"],
        streams=Streams(stdin=commands.encode()),
        setting=Setting(cwd=disk.parent),
        timeout_s=_TIMEOUT_S,
    )
    error = _ERROR.search(completed.stdout)
    if error is not None:
        said = completed.stdout.decode(errors="replace")
        steps = "\n".join("  " + line for line in said.splitlines() if line.strip())[-1500:]
        raise HostError(
            f"GRUB Legacy could not be installed: error {int(error[1])}: "
            f"{error[2].decode(errors='replace')}\n{steps}"
        )
    if layout is not Layout.HVM_GPT and b"Done." not in completed.stdout:
        raise HostError(f"GRUB Legacy did not say that it is done: {completed.line}")
