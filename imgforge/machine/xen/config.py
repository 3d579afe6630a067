"""The guest's configuration, as libxl reads it (xl.cfg(5), xl-disk-configuration(5))."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgforge.errors import BadInputError, HostError

_LETTERS = "bcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class XenGuest:
    """A PV guest: `root` is its name of its root disk, `volumes` how many it has beside that.

    `command_line` and `has_initrd` are of what libxl loads: a kernel, or PV-GRUB's stand-in in a
    guest that `has_loader`.
    """

    root: str
    uuid: str
    mac_address: str
    memory_mib: int
    vcpus: int
    volumes: int = 0
    has_seed: bool = False
    command_line: str = ""
    has_initrd: bool = False
    bits: int = 64
    has_loader: bool = False


def guest_config(guest: XenGuest) -> str:
    """Return the text of the guest's configuration.

    Its disks are dom0's by their serial (guest/xen/init): /dev/disk/root and so on. Raises
    BadInputError for a command line that xl's language cannot express.
    """
    lines = {
        "name": '"guest"',
        "type": '"pvh"' if guest.bits == 32 else '"pv"',
        **({"pvshim": "1"} if guest.bits == 32 else {}),
        "uuid": _quote(guest.uuid),
        "memory": str(guest.memory_mib),
        "maxmem": str(guest.memory_mib),
        "vcpus": str(guest.vcpus),
        "disk": _list(_disks(guest)),
        "vif": _list([f"mac={guest.mac_address},script=vif"]),
        # dom0 tells of the end; what a reboot is, is the host's to decide.
        **dict.fromkeys(("on_poweroff", "on_reboot", "on_crash", "on_watchdog"), '"destroy"'),
        **_start(guest),
    }
    first = "# loader\n" if guest.has_loader else ""  # for dom0's init
    return first + "".join(f"{name} = {value}\n" for name, value in lines.items())


def _start(guest: XenGuest) -> dict[str, str]:
    initrd = {"ramdisk": _quote("/dev/disk/initrd")} if guest.has_initrd else {}
    return {
        "kernel": _quote("/dev/disk/kernel"),
        **initrd,
        "cmdline": _quote_command_line(guest.command_line),
    }


def _quote_command_line(line: str) -> str:
    try:
        return _quote(line)
    except HostError:
        raise BadInputError(
            f"The kernel's command line {line!r}: it has both kinds of quotes, or a line end; "
            "libxl's configuration can express the one or the other.",
            hint="Boot it with --pv-boot direct, or use one kind of quotes in menu.lst; xen-grub "
            "would put a backslash before each quote.",
        ) from None


def volume_letters(count: int) -> Sequence[str]:
    """Return the letters of so many further volumes: xvdb is the first one's name."""
    return _LETTERS[:count]


def _disks(guest: XenGuest) -> list[str]:
    disks = [f"phy:/dev/disk/root,{guest.root},w"]
    disks += [
        f"phy:/dev/disk/volume{number},xvd{letter},w"
        for number, letter in enumerate(volume_letters(guest.volumes))
    ]
    if guest.has_seed:
        disks.append("phy:/dev/disk/seed,xvdz,r")
    return disks


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(_quote(value) for value in values)}]"


def _quote(value: str) -> str:
    """Return a string of xl's. Raises HostError where its language has none for it.

    Its scanner ends a string at the next quote of its kind, and its hexadecimal escapes are broken
    in 4.17 (tools/libs/util/libxlu_cfg.c, xlu__cfgl_dequote).
    """
    if any(character in value for character in "\n\0") or ("'" in value and '"' in value):
        raise HostError(f"Xen's configuration has no way to say {value!r}.")
    quote = "'" if '"' in value else '"'
    escaped = value.replace("\\", "\\\\")
    return f"{quote}{escaped}{quote}"
