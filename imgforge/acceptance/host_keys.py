"""SSH host keys as a console shows them: the text is the guest's, and trusted for nothing else."""

import base64
import binascii
import re

_BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
_END = "-----END SSH HOST KEY KEYS-----"
_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
          "ecdsa-sha2-nistp521")  # fmt: skip
_KEY = re.compile(rf"(?<![\w-])({'|'.join(_TYPES)})[ \t]+(AAAA[A-Za-z0-9+/]{{20,4000}}={{0,2}})")
_MAXIMUM = 16


class HostKeyReader:
    """Reads the block that cloud-init and our guests print, line by line.

    Lines may carry prefixes (time stamps, `cloud-init[412]:`, `ci-info:`) and others may come in
    between. `keys` holds the last whole block, each as `TYPE BASE64`, the comment dropped; a key
    that is not whole (RFC 4253, section 6.6) is left out. `shows_none` tells that the only blocks
    so far had no key in them.
    """

    def __init__(self) -> None:
        self.keys: tuple[str, ...] = ()
        self.shows_none = False
        self._block: list[str] | None = None

    def read(self, line: str) -> bool:
        """Look at a whole line; tell whether it completed a block with a key in it."""
        if _BEGIN in line:
            self._block = []
        elif self._block is None:
            return False
        elif _END in line:
            found, self._block = tuple(self._block), None
            self.keys = found or self.keys
            self.shows_none = not self.keys
            return bool(found)
        elif (key := _parse_key(line)) and key not in self._block:
            self._block = [*self._block, key][:_MAXIMUM]
        return False


def _parse_key(line: str) -> str | None:
    match = _KEY.search(line)
    if match is None:
        return None
    kind, text = match[1], match[2]
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    fields = _split_fields(blob)
    if not fields or fields[0] != kind.encode() or not _has_right_shape(kind, fields):
        return None
    return f"{kind} {text}"


def _has_right_shape(kind: str, fields: list[bytes]) -> bool:
    if kind == "ssh-ed25519":
        return len(fields) == 2 and len(fields[1]) == 32
    return len(fields) == 3 and all(fields)


def _split_fields(blob: bytes) -> list[bytes]:
    """Return the length-prefixed strings of a key blob (RFC 4251, section 5); [] if cut short."""
    fields = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            return []
        fields.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return fields


def format_known_hosts(keys: tuple[str, ...], *, port: int) -> str:
    """Return a known_hosts file (sshd(8)) for a machine behind a port of the loopback."""
    return "".join(f"[127.0.0.1]:{port} {key}\n" for key in keys)
