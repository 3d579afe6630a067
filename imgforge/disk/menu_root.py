"""menu.lst made to fit another arrangement of the disk: its root on (hd0), or on (hd0,0).

On an image of bundle-vol there is one file system: on the whole disk, or in the first partition.
What named the root before names it no more; an entry that does not load a kernel (one that chains
to another disk's loader) is left alone. Every other byte is kept.
"""

import re

from imgforge.disk.menu_lines import LineKind, read_lines

_COMMANDS = frozenset(
    {
        b"root",
        b"kernel",
        b"initrd",
        b"module",
        b"configfile",
        b"splashimage",
        b"uuid",
        b"background",
    }
)
_DEVICE = re.compile(rb"\(hd0(?:,[0-9]{1,3})?\)(?=/|\s|\Z)")


def correct_menu_root(data: bytes, *, root: str) -> tuple[bytes, int]:
    """Return menu.lst with `root`, such as "(hd0,0)", as the root; and how many lines changed."""
    wanted = root.encode("ascii")
    lines = []
    changed = 0
    for line in read_lines(data):
        raw = line.raw
        if line.kind is LineKind.COMMAND and line.command in _COMMANDS:
            # In the bytes themselves, behind the command: a joined line keeps its backslashes.
            start = line.position(line.argument_index)
            match = _DEVICE.match(raw, start)
            if match is not None and match[0] != wanted:
                raw = raw[:start] + wanted + raw[match.end() :]
                changed += 1
        lines.append(raw)
    return b"".join(lines), changed
