"""Small PV disks whose kernel does harm under Xen, made in a moment."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.kernel_files import make_running_elf
from tests.menu_disks import make_disk

KERNEL = make_running_elf(code="hostile")
_MENU = "default 0\ntimeout 0\ntitle hostile\nroot (hd0)\nkernel /boot/k root=LABEL=root do={}\n"
_RECIPE = """name = "hostile"
[rootfs.source]
kind = "folder"
path = "."
[disk]
layouts = ["pv"]
[[boot.entries]]
title = "hostile"
kernel = "/boot/k"
command_line = "root=LABEL=root"
[expect]
boot_limit_s = {limits.boot_s}
silence_limit_s = {limits.silence_s}
[image]
name = "hostile"
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a boot is watched."""

    boot_s: int
    silence_s: int


def make_hostile_disk(folder: Path, *, do: str, kernel: bytes = KERNEL) -> Path:
    """Make a disk whose kernel does what a letter says (data/test_kernel/hostile.s)."""
    shutil.rmtree(folder / "tree", ignore_errors=True)
    (folder / "d.raw").unlink(missing_ok=True)
    menu = _MENU.format(do).encode()
    return make_disk(folder, {"boot/k": kernel, "boot/grub/menu.lst": menu})


def write_recipe(folder: Path, limits: Limits) -> Path:
    """Write the recipe that such a disk is tested by."""
    path = folder / "hostile.toml"
    path.write_text(_RECIPE.format(limits=limits), encoding="utf-8")
    return path
