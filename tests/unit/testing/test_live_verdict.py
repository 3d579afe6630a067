"""A rejection inside a test names how the machine was to be started, as a verdict file does."""

from pathlib import Path

import pytest

from imgforge.acceptance import BootMethod, record_unbootable
from imgforge.aki import parse_name
from imgforge.disk import Disk
from imgforge.layout import Layout
from imgforge.machine import Accelerator, AcceleratorKind
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import ExpectPart
from imgforge.testing.live import judged
from imgforge.testing.plan import Image

OLD = parse_name("pv-grub-hd00_1.03-x86_64.gz")


@pytest.mark.parametrize(
    ("layout", "pv", "name"),
    [
        (Layout.PV, PvWish(), "pv-grub-hd0_1.05-x86_64.gz"),
        (Layout.PV_PART, PvWish(), "pv-grub-hd00_1.05-x86_64.gz"),
        (Layout.PV, PvWish(PvWay.XEN_GRUB, OLD), "pv-grub-hd00_1.03-x86_64.gz"),
        (Layout.HVM_MBR, PvWish(PvWay.XEN_GRUB, OLD), None),
        (None, PvWish(), None),
    ],
)
def test_a_rejection_names_the_pv_grub(layout: Layout | None, pv: PvWish, name: str | None) -> None:
    disk = Disk(Path("x.raw"), sha256="0" * 64, size_bytes=512, layout=layout)
    record = record_unbootable(
        "nothing there",
        accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked for"),
        boot_method=BootMethod.DIRECT,
    )
    assert judged(record, Image(disk, ExpectPart()), pv=pv).pv_grub == name
