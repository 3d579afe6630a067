"""PV-GRUB's stand-in is told which disk it has, and where the chosen AKI would look.

GRUB 2.06 takes nothing from Xen's command line: its configuration has room for settings, which is
written over (guest/xen/grub.cfg).
"""

import re
from collections.abc import Sequence

from imgforge.errors import HostError

_ROOM = re.compile(rb"^#SETTINGS#{100,}\n", re.MULTILINE)


def set_up_loader(
    loader: bytes, *, root: str, sectors: int, places: Sequence[tuple[int, str]]
) -> bytes:
    """Return the loader for a disk that the guest calls `root`.

    `places` are partition (0: the whole disk) and folder. Raises HostError where the settings have
    no room.
    """
    names = " ".join(
        f"hd0,{number}:{folder}" if number else f"hd0:{folder}" for number, folder in places
    )
    text = f'set disk=xen/{root}\nset sectors={sectors}\nset places="{names}"\n'
    rooms = list(_ROOM.finditer(loader))
    if len(rooms) != 1 or len(text) > len(rooms[0][0]) - 1:
        raise HostError(
            f"Xen appliance: its loader has {len(rooms)} rooms for {len(text)} bytes of settings."
        )
    (room,) = rooms
    settings = text.encode("ascii").ljust(len(room[0]) - 1, b"#") + b"\n"
    return loader[: room.start()] + settings + loader[room.end() :]
