"""The wires between us and QEMU: pairs of sockets, made before it starts, without path or port."""

import socket
from contextlib import ExitStack, closing


class Wires:
    """Makes wires; QEMU's ends close on this side with `theirs`, once it has inherited them."""

    def __init__(self, theirs: ExitStack) -> None:
        self._theirs = theirs
        self.ends: tuple[int, ...] = ()

    def pair(self) -> tuple[socket.socket, int]:
        """Return our end of a new wire, and the descriptor of QEMU's."""
        ours, end = socket.socketpair()
        self._theirs.enter_context(closing(end))
        end.set_inheritable(True)
        self.ends = (*self.ends, end.fileno())
        return ours, end.fileno()
