"""What a machine that goes on from a frozen one must be told: the time, and fresh randomness.

Its clock stands where it was frozen, and every clone would draw the same random numbers: Linux
mixes what is written to /dev/urandom in at once, but draws from it only at its next reseeding,
up to a minute later (random(4), drivers/char/random.c of 6.1), unless the ioctl RNDRESEEDCRNG
asks for one. A shell has no ioctl: a program of some 230 bytes makes it, and as each program that
a clone starts costs it a tenth of its waking (cold code, emulated), the same one sets the clock.
Nothing need be installed in the image.
"""

import struct

_PROGRAM = "/run/imgforge-wake"
_ENTROPY_BYTES = 64
_LOADED_AT = 0x400000
_HEADERS_BYTES = 64 + 56
_DEVICE = b"/dev/urandom\0"
_NS = 1_000_000_000
_CODE_BYTES = 102
_CODE = bytes.fromhex(
    "4883ec50"  #     sub rsp, 80
    "31c0"  #         xor eax, eax        read(2)
    "31ff"  #         xor edi, edi        of stdin
    "4889e6"  #       mov rsi, rsp        a struct timespec and 64 bytes of entropy
    "ba50000000"  #   mov edx, 80
    "0f05"  #         syscall
    "83e850"  #       sub eax, 80
    "7544"  #         jne end
    "b0e3"  #         mov al, 227         clock_settime(2) of CLOCK_REALTIME, which is 0
    "4889e6"  #       mov rsi, rsp
    "0f05"  #         syscall
    "85c0"  #         test eax, eax
    "7539"  #         jne end
    "b002"  #         mov al, 2           open(2)
    "bf{device:08x}"  # mov edi, device
    "be01000000"  #   mov esi, 1          O_WRONLY
    "0f05"  #         syscall
    "85c0"  #         test eax, eax
    "7827"  #         js end
    "89c3"  #         mov ebx, eax
    "b801000000"  #   mov eax, 1          write(2)
    "89df"  #         mov edi, ebx
    "488d742410"  #   lea rsi, [rsp+16]
    "ba40000000"  #   mov edx, 64
    "0f05"  #         syscall
    "85c0"  #         test eax, eax
    "780e"  #         js end
    "b810000000"  #   mov eax, 16         ioctl(2)
    "89df"  #         mov edi, ebx
    "be07520000"  #   mov esi, 0x5207     RNDRESEEDCRNG
    "0f05"  #         syscall
    "89c7"  #   end:  mov edi, eax
    "f7df"  #         neg edi             the error as the exit code
    "b83c000000"  #   mov eax, 60         exit(2)
    "0f05".replace(  #         syscall
        "{device:08x}", struct.pack("<I", _LOADED_AT + _HEADERS_BYTES + _CODE_BYTES).hex()
    )
)


def wake_program() -> bytes:
    """Return a static x86-64 ELF program that sets the clock, mixes entropy in, and reseeds.

    It reads 80 bytes: seconds and nanoseconds (64 bits each, little-endian), then the entropy.
    Its exit code is the error of the call that failed (errno), or how many bytes were missing.
    """
    content = _CODE + _DEVICE
    size = _HEADERS_BYTES + len(content)
    entry = _LOADED_AT + _HEADERS_BYTES
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    program = struct.pack("<IIQQQQQQ", 1, 5, 0, _LOADED_AT, _LOADED_AT, size, size, 0x1000)
    return ident + header + program + content


def prepare_script() -> str:
    """Return the shell script that lays the program down, before the machine is frozen."""
    return f"printf '{_octal(wake_program())}' >{_PROGRAM} && chmod 0700 {_PROGRAM}"


def wake_script(*, now_s: float, entropy: bytes) -> str:
    """Return the shell script that sets the clock to `now_s` (UNIX time) and reseeds.

    `entropy` is 64 bytes that no other machine gets; it is not credited, only mixed in.
    """
    if len(entropy) != _ENTROPY_BYTES:
        raise ValueError(f"{_ENTROPY_BYTES} bytes of entropy are needed, not {len(entropy)}")
    seconds, ns = divmod(round(now_s * _NS), _NS)
    return f"printf '{_octal(struct.pack('<qq', seconds, ns) + entropy)}' | {_PROGRAM}"


def _octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)
