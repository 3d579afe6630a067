"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.accelerator import AcceleratorWish
from imgforge.aki import read_pv_grub
from imgforge.cli.instance import read_user_data
from imgforge.cli.user_data import tell_findings
from imgforge.layout import Layout
from imgforge.pv_way import PvWay, PvWish

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (TOML).")]
DiskArgument = Annotated[Path, typer.Argument(metavar="DISK", help="A raw disk.")]
LayoutOption = Annotated[
    list[Layout] | None,
    typer.Option("--layout", help="Only this layout; may be given several times."),
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
LockedOption = Annotated[
    bool, typer.Option("--locked", help="Build exactly what RECIPE.lock names, or fail.")
]
AccelOption = Annotated[
    AcceleratorWish, typer.Option("--accel", help="What runs the guest; kvm never falls back.")
]
NetworkOption = Annotated[
    bool, typer.Option("--network", help="Let the guest reach this host's network.")
]
PvBootOption = Annotated[
    PvWay,
    typer.Option(
        "--pv-boot",
        help="How PV disks boot: direct (no Xen), or as PV guests under Xen in QEMU.",
    ),
]
AkiOption = Annotated[
    str | None,
    typer.Option(
        "--aki",
        metavar="ID|NAME",
        help="The PV-GRUB that PV disks boot by; else the image's, or the newest for the disk.",
    ),
]
SuiteOption = Annotated[
    str,
    typer.Option(
        "--suite",
        metavar="full|none|NAME,…",
        help="Which built-in tests follow an accepted boot: all, none, or by name or group.",
    ),
]
UserDataOption = Annotated[
    Path | None,
    typer.Option("--user-data", metavar="FILE", help="User data of all machines, 16 KiB."),
]


def pv_wish(pv_boot: PvWay, aki: str | None) -> PvWish:
    """Return how PV disks are to be booted. Raises BadInputError for no PV-GRUB."""
    return PvWish(pv_boot, None if aki is None else read_pv_grub(aki))


def told_user_data(path: Path | None) -> bytes | None:
    """Return the user data of a file, and tell what a guest would not do with it."""
    if path is None:
        return None
    data = read_user_data(path)
    tell_findings("user-data", data)
    return data
