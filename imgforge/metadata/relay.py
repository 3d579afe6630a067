"""One guest connection to 169.254.169.254, carried to the metadata service's socket.

slirp starts this for each connection (`guestfwd=…-cmd:`) with the guest's side as stdin and
stdout. It stands alone: standard library only, and few modules, since it is started often
(measured: 18 ms with `python -I -S`). It ends when either side is gone, and QEMU's end is a side
gone; it also ends after a minute in which nothing moved, so that half a request does not keep a
process.
"""

import select
import socket
import sys

_IDLE_S = 60
_PIECE_BYTES = 65536


def main() -> None:
    """Carry bytes both ways until both are at their end or one side is gone."""
    guest = socket.socket(fileno=0)
    service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    service.settimeout(_IDLE_S)
    guest.settimeout(_IDLE_S)
    try:
        service.connect(sys.argv[1])
        _carry(guest, service)
    except OSError:  # one of them is gone, or took nothing for a minute
        return


def _carry(guest: socket.socket, service: socket.socket) -> None:
    other = {guest.fileno(): (guest, service), service.fileno(): (service, guest)}
    poll = select.poll()
    for descriptor in other:
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = poll.poll(_IDLE_S * 1000)
        if not ready:
            return
        for descriptor, event in ready:
            source, sink = other[descriptor]
            data = source.recv(_PIECE_BYTES)
            if data:
                sink.sendall(data)
            elif source is service or event & (select.POLLHUP | select.POLLERR):
                return
            else:  # the guest has said all it will: half-close, and wait for the answer
                sink.shutdown(socket.SHUT_WR)
                # Keep looking for the hang-up alone: that is QEMU's end.
                poll.modify(descriptor, 0)


if __name__ == "__main__":
    main()
