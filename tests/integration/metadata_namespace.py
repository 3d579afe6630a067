"""Runs a program beside a metadata service on the real 169.254.169.254.

Started as `unshare -Urn python metadata_namespace.py required|optional RECORD PROGRAM …`: in a
network namespace of its own nothing else has that address. RECORD gets what was asked, as JSON.
"""

import asyncio
import fcntl
import json
import socket
import struct
import sys
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from imgforge.metadata import HttpTokens, MetadataRequest, Secrets, Signer
from tests.metadata_instances import FULL
from tests.metadata_serving import serving

_ADDRESS = "169.254.169.254"
# netdevice(7)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _IFF_UP = 0x8913, 0x8914, 0x8916, 1


def take_the_address() -> None:
    """Bring up the loopback interface, with the address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(wire, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(wire, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        address = struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(_ADDRESS))
        fcntl.ioctl(wire, _SIOCSIFADDR, address)


async def run_beside(tokens: HttpTokens, words: list[str]) -> tuple[int, list[MetadataRequest]]:
    """Return the exit status of a program, and what was asked while it ran."""
    options = replace(FULL.options, http_tokens=tokens)
    listener = socket.create_server((_ADDRESS, 80))
    instance = replace(FULL, options=options)
    async with serving(
        instance, listener=listener, secrets=Secrets(signer=Signer.generate())
    ) as on:
        program = await asyncio.create_subprocess_exec(*words)
        status = await program.wait()
    return status, on.requests


def main() -> int:
    take_the_address()
    status, requests = asyncio.run(run_beside(HttpTokens(sys.argv[1]), sys.argv[3:]))
    told = json.dumps([asdict(request) for request in requests])
    Path(sys.argv[2]).write_text(told, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
