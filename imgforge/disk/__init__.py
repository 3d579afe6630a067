"""A tree becomes a bootable raw disk; a disk is read without mounting it."""

from imgforge.disk.build import build_disk
from imgforge.disk.difference import Difference, first_difference
from imgforge.disk.disk import Disk
from imgforge.disk.fstab_place import PlacedEdit, apply_fstab_edit, plan_fstab_edits
from imgforge.disk.kernel_image import unpack_kernel
from imgforge.disk.menu import recipe_menu
from imgforge.disk.menu_check import MenuExamination, examine_menu
from imgforge.disk.menu_edit import NewEntry
from imgforge.disk.menu_finding import MenuFinding, Weight, World
from imgforge.disk.menu_parser import Menu, parse_menu
from imgforge.disk.menu_place import MENU_PLACES, FoundMenu
from imgforge.disk.menu_root import correct_menu_root
from imgforge.disk.menu_rule_table import RULES
from imgforge.disk.menu_write import edit_disk, read_first_menu
from imgforge.disk.mounted import DeviceFacts, examine_device
from imgforge.disk.partition import Partition, has_esp, read_partitions, recognise_layout
from imgforge.disk.platform import read_platform
from imgforge.disk.pvgrub import PvBoot, PvBootFailure, evaluate_pv_boot
from imgforge.disk.record import FileIdentity, disk_sha256, identify, open_disk
from imgforge.disk.root_volume import find_root_volume, read_volume_tree
from imgforge.disk.sparse_copy import copy_data
from imgforge.disk.tree_disk import TreeDiskWish, boot_stages, enough_bytes, make_tree_disk
from imgforge.disk.volume import Volume, VolumeKind, read_volumes

__all__ = [
    "MENU_PLACES",
    "RULES",
    "DeviceFacts",
    "Difference",
    "Disk",
    "FileIdentity",
    "FoundMenu",
    "Menu",
    "MenuExamination",
    "MenuFinding",
    "NewEntry",
    "Partition",
    "PlacedEdit",
    "PvBoot",
    "PvBootFailure",
    "TreeDiskWish",
    "Volume",
    "VolumeKind",
    "Weight",
    "World",
    "apply_fstab_edit",
    "boot_stages",
    "build_disk",
    "copy_data",
    "correct_menu_root",
    "disk_sha256",
    "edit_disk",
    "enough_bytes",
    "evaluate_pv_boot",
    "examine_device",
    "examine_menu",
    "find_root_volume",
    "first_difference",
    "has_esp",
    "identify",
    "make_tree_disk",
    "open_disk",
    "parse_menu",
    "plan_fstab_edits",
    "read_first_menu",
    "read_partitions",
    "read_platform",
    "read_volume_tree",
    "read_volumes",
    "recipe_menu",
    "recognise_layout",
    "unpack_kernel",
]
