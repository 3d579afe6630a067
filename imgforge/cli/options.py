"""Arguments and options that several commands have."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.accelerator import AcceleratorWish
from imgforge.aki import read_pv_grub
from imgforge.layout import Layout
from imgforge.pv_way import PvWay, PvWish

if TYPE_CHECKING:
    from imgforge.start import Surroundings

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


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """How machines are started."""

    accel: AccelOption = AcceleratorWish.AUTO
    network: NetworkOption = False
    pv_boot: PvBootOption = PvWay.DIRECT
    aki: AkiOption = None

    def surroundings(self) -> "Surroundings":
        """Return what was said of them. Raises BadInputError for no PV-GRUB."""
        from imgforge.start import Surroundings

        pv = PvWish(self.pv_boot, None if self.aki is None else read_pv_grub(self.aki))
        return Surroundings(accelerator=self.accel, network=self.network, pv=pv)


@dataclass(frozen=True, slots=True)
class RunMachineOptions(MachineOptions):
    """The same for `imgforge run`, which has the time for Xen."""

    pv_boot: PvBootOption = PvWay.XEN_GRUB
