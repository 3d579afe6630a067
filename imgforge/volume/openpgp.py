"""OpenPGP files: whether one is of public keys only (RFC 4880, 4.2 and 4.3)."""

from collections.abc import Iterator

# Signature, public key, trust, user id, public subkey, user attribute, padding.
_PUBLIC_TAGS = frozenset({2, 6, 12, 13, 14, 17, 21})
_PUBLIC_KEY = 6
_ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"


def is_public_openpgp(data: bytes) -> bool:
    """Tell whether these bytes are public keys, and nothing else."""
    if data.lstrip().startswith(_ARMOR):
        return b"PRIVATE KEY" not in data
    try:
        tags = list(_tags(data))
    except ValueError:
        return False
    return bool(tags) and tags[0] == _PUBLIC_KEY and set(tags) <= _PUBLIC_TAGS


def _tags(data: bytes) -> Iterator[int]:
    """Yield the tag of each packet. Raises ValueError where the bytes are no packets."""
    position = 0
    while position < len(data):
        header = data[position]
        if not header & 0x80:
            raise ValueError("no packet")
        if header & 0x40:
            tag = header & 0x3F
            length, size = _new_length(data, position + 1)
        else:
            tag = header >> 2 & 0x0F
            length, size = _old_length(data, position + 1, header & 3)
        yield tag
        position += 1 + size + length
        if position > len(data):
            raise ValueError("a packet ends behind the file")


def _old_length(data: bytes, position: int, kind: int) -> tuple[int, int]:
    if kind == 3:
        raise ValueError("of no length")
    size = 1 << kind
    return int.from_bytes(_take(data, position, size), "big"), size


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    first = _take(data, position, 1)[0]
    if first < 192:
        return first, 1
    if first < 224:
        return ((first - 192) << 8) + _take(data, position + 1, 1)[0] + 192, 2
    if first < 255:
        raise ValueError("of partial lengths")
    return int.from_bytes(_take(data, position + 1, 4), "big"), 5


def _take(data: bytes, position: int, size: int) -> bytes:
    taken = data[position : position + size]
    if len(taken) < size:
        raise ValueError("the file ends within a packet")
    return taken
