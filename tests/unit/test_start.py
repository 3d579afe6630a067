"""By which PV-GRUB a disk is started, and where that one looks for menu.lst."""

import pytest

from imgforge.aki import parse_name
from imgforge.disk import MENU_PLACES
from imgforge.layout import Layout
from imgforge.machine import outer_memory_mib
from imgforge.pv_way import DIRECTLY, PvWay, PvWish
from imgforge.start import aki_places


@pytest.mark.parametrize("place", ["hd0", "hd00"])
@pytest.mark.parametrize("release", ["1.04", "1.05"])
def test_each_pv_grub_from_104_on_looks_in_the_nine_places(place: str, release: str) -> None:
    pv_grub = parse_name(f"pv-grub-{place}_{release}-x86_64.gz")
    assert pv_grub is not None
    assert aki_places(pv_grub) == MENU_PLACES
    assert len(MENU_PLACES) == 9


@pytest.mark.parametrize(("place", "number"), [("hd0", 0), ("hd00", 1)])
@pytest.mark.parametrize("release", ["1.01", "1.03"])
def test_an_older_pv_grub_looks_in_one_place(place: str, number: int, release: str) -> None:
    pv_grub = parse_name(f"pv-grub-{place}_{release}-i386.gz")
    assert pv_grub is not None
    assert aki_places(pv_grub) == ((number, "/boot/grub"),)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (Layout.PV, "pv-grub-hd0_1.05-x86_64.gz"),
        (Layout.PV_PART, "pv-grub-hd00_1.05-x86_64.gz"),
        (Layout.HVM_MBR, None),
        (Layout.HVM_GPT, None),
        (None, None),
    ],
)
def test_unless_one_is_chosen_it_is_the_newest_for_the_layout(
    layout: Layout | None, name: str | None
) -> None:
    found = DIRECTLY.pv_grub_for(layout)
    assert (found.name if found else None) == name
    chosen = parse_name("pv-grub-hd0_1.03-i386.gz")
    assert PvWish(PvWay.XEN_GRUB, chosen).pv_grub_for(layout) == (chosen if name else None)


@pytest.mark.parametrize("guest_mib", [128, 512, 4096])
def test_xens_shim_takes_memory_beside_the_guest(guest_mib: int) -> None:
    whole = outer_memory_mib(guest_mib)
    assert guest_mib < whole < outer_memory_mib(guest_mib, bits=32)
