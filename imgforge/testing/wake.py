"""What a machine that goes on from a frozen one must be told: the time, and fresh randomness.

Its clock stands where it was frozen, and every clone would draw the same random numbers: Linux
mixes what is written to /dev/urandom in at once, but draws from it only at its next reseeding,
up to a minute later (random(4), drivers/char/random.c of 6.1), unless the ioctl RNDRESEEDCRNG
asks for one. A shell has no ioctl: a program of 144 bytes makes it, so that nothing need be
installed in the image.
"""

import struct

_RESEED = "/run/imgforge-reseed"
_ENTROPY_BYTES = 64
_LOADED_AT = 0x400000
_HEADERS_BYTES = 64 + 56
_CODE = bytes.fromhex(
    "b810000000"  # mov eax, 16         ioctl(2)
    "31ff"  #       xor edi, edi        of stdin,
    "be07520000"  # mov esi, 0x5207     RNDRESEEDCRNG
    "0f05"  #       syscall
    "89c7"  #       mov edi, eax
    "f7df"  #       neg edi             the error as the exit code
    "b83c000000"  # mov eax, 60         exit(2)
    "0f05"  #       syscall
)


def reseed_program() -> bytes:
    """Return a static x86-64 ELF program that makes the kernel reseed; stdin is /dev/urandom."""
    size = _HEADERS_BYTES + len(_CODE)
    entry = _LOADED_AT + _HEADERS_BYTES
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOADED_AT, _LOADED_AT, size, size, 0x1000)
    return ident + header + program + _CODE


def prepare_script() -> str:
    """Return the shell script that lays the program down, before the machine is frozen."""
    return f"printf '{_octal(reseed_program())}' >{_RESEED} && chmod 0700 {_RESEED}"


def wake_script(*, now_s: float, entropy: bytes) -> str:
    """Return the shell script that sets the clock to `now_s` (UNIX time) and reseeds.

    `entropy` is 64 bytes that no other machine gets; it is not credited, only mixed in.
    """
    if len(entropy) != _ENTROPY_BYTES:
        raise ValueError(f"{_ENTROPY_BYTES} bytes of entropy are needed, not {len(entropy)}")
    return (
        f"date -s @{round(now_s)} >/dev/null; "
        f"printf '{_octal(entropy)}' >/dev/urandom; {_RESEED} </dev/urandom"
    )


def _octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)
