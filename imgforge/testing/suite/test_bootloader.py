"""Where menu.lst names a fallback, the machine comes back when the first entry is broken."""

import pytest

from imgforge.disk import parse_menu
from imgforge.testing.machine import Machine

_MENUS = ("/boot/grub/menu.lst", "/boot/grub/grub.conf", "/grub/menu.lst")


def test_fallback_boots_when_the_first_entry_is_broken(machine: Machine) -> None:
    text = machine.run(f"cat {' '.join(_MENUS)} 2>/dev/null | head -c 65536").stdout
    menu = parse_menu(text.encode())
    if not menu.fallback or menu.default >= len(menu.entries):
        pytest.skip("the image has no menu.lst with a `fallback` line")
    first = menu.entries[menu.default]
    second = menu.entries[menu.fallback[0]] if menu.fallback[0] < len(menu.entries) else None
    assert second is not None, f"fallback {menu.fallback[0]} is no entry of menu.lst"
    others = {second.kernel, second.initrd}
    own = next((path for path in (first.kernel, first.initrd) if path and path not in others), None)
    assert own is not None, "the fallback needs the same kernel and initrd as the first entry"
    path = machine.succeed(f"ls -d '{own}' '/boot{own}' 2>/dev/null | head -n 1").strip()
    machine.succeed(f"mv '{path}' '{path}.away' && sync")
    machine.reboot()
    machine.succeed(f"test ! -e '{path}' && test -e '{path}.away'")
