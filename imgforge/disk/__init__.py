"""A tree becomes a bootable raw disk; a disk is read without mounting it."""

from imgforge.disk.build import build_disk
from imgforge.disk.difference import Difference, first_difference
from imgforge.disk.disk import Disk
from imgforge.disk.fstab_place import PlacedEdit, apply_fstab_edit, plan_fstab_edits
from imgforge.disk.menu_check import MenuExamination, examine_menu
from imgforge.disk.menu_edit import NewEntry
from imgforge.disk.menu_finding import MenuFinding, Weight, World
from imgforge.disk.menu_parser import Menu, parse_menu
from imgforge.disk.menu_place import FoundMenu
from imgforge.disk.menu_rule_table import RULES
from imgforge.disk.menu_write import edit_disk, read_first_menu
from imgforge.disk.pvgrub import PvBoot, PvBootFailure, evaluate_pv_boot
from imgforge.disk.record import disk_sha256, open_disk

__all__ = [
    "RULES",
    "Difference",
    "Disk",
    "FoundMenu",
    "Menu",
    "MenuExamination",
    "MenuFinding",
    "NewEntry",
    "PlacedEdit",
    "PvBoot",
    "PvBootFailure",
    "Weight",
    "World",
    "apply_fstab_edit",
    "build_disk",
    "disk_sha256",
    "edit_disk",
    "evaluate_pv_boot",
    "examine_menu",
    "first_difference",
    "open_disk",
    "parse_menu",
    "plan_fstab_edits",
    "read_first_menu",
]
