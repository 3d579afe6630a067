"""GRUB Legacy's commands: which stand before the first title, which in an entry, which in both."""

from enum import StrEnum


class CommandPlace(StrEnum):
    """Where GRUB carries a command out.

    A menu command stops an entry that it stands in, by error 27; an entry command before the
    first title does nothing. Patched ones are distributions', whose GRUB they need: 0.97 itself
    passes over them.
    """

    MENU = "menu"
    ENTRY = "entry"
    BOTH = "both"
    PATCHED = "patched"


# builtins.c of GRUB 0.97: BUILTIN_MENU, BUILTIN_CMDLINE. `title` is none of them.
_TABLE = """
menu default fallback hiddenmenu timeout
both bootp color device dhcp hide ifconfig pager partnew parttype password rarp serial setkey
both terminal terminfo tftpserver unhide
entry blocklist boot cat chainloader cmp configfile debug displayapm displaymem embed find fstest
entry geometry halt help impsprobe initrd install ioprobe kernel lock makeactive map md5crypt
entry module modulenounzip pause quit read reboot root rootnoverify savedefault setup testload
entry testvbe uppermem vbeprobe
patched background foreground gfxmenu quiet shade splashimage uuid viewport
"""


def _read_table() -> dict[str, CommandPlace]:
    rows = [line.split() for line in _TABLE.strip().split("\n")]
    return {name: CommandPlace(place) for place, *names in rows for name in names}


COMMANDS = _read_table()
