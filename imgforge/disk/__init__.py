"""A tree becomes a bootable raw disk; a disk is read without mounting it."""

from imgforge.disk.build import build_disk
from imgforge.disk.difference import Difference, first_difference
from imgforge.disk.disk import Disk
from imgforge.disk.menu_parser import parse_menu
from imgforge.disk.pvgrub import PvBoot, PvBootFailure, evaluate_pv_boot
from imgforge.disk.record import disk_sha256, open_disk

__all__ = [
    "Difference",
    "Disk",
    "PvBoot",
    "PvBootFailure",
    "build_disk",
    "disk_sha256",
    "evaluate_pv_boot",
    "first_difference",
    "open_disk",
    "parse_menu",
]
