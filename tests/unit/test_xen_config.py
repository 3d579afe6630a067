"""The guest's configuration says what its machine is, whatever its command line holds."""

from dataclasses import replace

import pytest

from imgforge.errors import BadInputError, HostError
from imgforge.machine.xen.config import XenGuest, guest_config
from imgforge.machine.xen.loader import set_up_loader

GUEST = XenGuest(
    root="xvda1",
    uuid="ec2d1f9c-0000-5000-8000-000000000000",
    mac_address="02:00:00:00:00:01",
    memory_mib=512,
    vcpus=2,
    command_line="root=LABEL=root ro console=hvc0",
)
ROOM = b"before\n#SETTINGS" + b"#" * 500 + b"\nafter\n"


def values(guest: XenGuest) -> dict[str, str]:
    lines = guest_config(guest).splitlines()
    return dict(line.split(" = ", 1) for line in lines)


def test_a_guest_of_a_file_system_has_it_as_xvda1() -> None:
    found = values(GUEST)
    assert found["type"] == '"pv"'
    assert found["disk"] == '["phy:/dev/disk/root,xvda1,w"]'
    assert found["uuid"] == f'"{GUEST.uuid}"'
    assert found["vif"] == '["mac=02:00:00:00:00:01,script=vif"]'
    assert (found["memory"], found["vcpus"]) == ("512", "2")
    assert found["cmdline"] == '"root=LABEL=root ro console=hvc0"'
    assert "ramdisk" not in found


def test_ephemeral_volumes_begin_with_xvdb_and_the_seed_is_the_last() -> None:
    found = values(replace(GUEST, root="xvda", volumes=2, has_seed=True))
    disks = found["disk"].strip("[]").replace('"', "").split(", ")
    assert disks == [
        "phy:/dev/disk/root,xvda,w",
        "phy:/dev/disk/volume0,xvdb,w",
        "phy:/dev/disk/volume1,xvdc,w",
        "phy:/dev/disk/seed,xvdz,r",
    ]


def test_dom0_is_told_of_a_boot_loader_in_a_comment() -> None:
    with_loader = guest_config(replace(GUEST, has_loader=True))
    assert with_loader == "# loader\n" + guest_config(GUEST)


def test_an_initrd_is_named_where_there_is_one() -> None:
    assert values(replace(GUEST, has_initrd=True))["ramdisk"] == '"/dev/disk/initrd"'


def test_dom0_is_told_of_every_end() -> None:
    found = values(GUEST)
    names = [name for name in found if name.startswith("on_")]
    assert names == ["on_poweroff", "on_reboot", "on_crash", "on_watchdog"]
    assert {found[name] for name in names} == {'"destroy"'}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('a="b c"', "'a=\"b c\"'"),
        ("it's", '"it\'s"'),
        ("a\\b", '"a\\\\b"'),
        ("x]; kernel = y", '"x]; kernel = y"'),
        ("ü", '"ü"'),
    ],
)
def test_a_command_line_stays_one_text(line: str, told: str) -> None:
    assert values(replace(GUEST, command_line=line))["cmdline"] == told


@pytest.mark.parametrize("line", ["a\nkernel = '/etc/shadow'", "a\0b", "a=\"b c\" d='e f'"])
def test_a_command_line_that_xl_could_not_be_told_is_the_image_s_not_the_host_s(line: str) -> None:
    with pytest.raises(BadInputError, match="both kinds of quotes") as caught:
        guest_config(replace(GUEST, command_line=line))
    assert "--pv-boot direct" in caught.value.hint


def test_the_loader_is_told_its_disk_and_where_to_look() -> None:
    places = ((0, "/boot/grub"), (1, "/boot/grub"), (1, "/grub"))
    made = set_up_loader(ROOM, root="xvda1", sectors=2048, places=places)
    assert len(made) == len(ROOM)
    assert made.startswith(b"before\nset disk=xen/xvda1\nset sectors=2048\n")
    assert b'set places="hd0:/boot/grub hd0,1:/boot/grub hd0,1:/grub"\n' in made
    assert made.endswith(b"#\nafter\n")


@pytest.mark.parametrize("loader", [b"", b"#SETTINGS\n", ROOM + ROOM])
def test_a_loader_without_one_room_for_settings_is_refused(loader: bytes) -> None:
    with pytest.raises(HostError, match="rooms for"):
        set_up_loader(loader, root="xvda", sectors=1, places=((0, "/boot/grub"),))


def test_settings_that_are_too_long_are_refused() -> None:
    with pytest.raises(HostError, match="rooms for"):
        set_up_loader(ROOM, root="xvda", sectors=1, places=((1, "/boot/grub"),) * 40)


def test_a_32_bit_guest_is_pv_inside_the_shim() -> None:
    assert 'type = "pv"' in guest_config(GUEST)
    narrow = guest_config(replace(GUEST, bits=32))
    assert 'type = "pvh"\npvshim = 1' in narrow
