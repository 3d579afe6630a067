"""OpenPGP files: whether one is of public keys only, or a secret key (RFC 4880, 4.2 and 4.3)."""

# Signature, public key, trust, user id, public subkey, user attribute, padding.
_PUBLIC_TAGS = frozenset({2, 6, 12, 13, 14, 17, 21})
_SECRET_TAGS = frozenset({5, 7})
_PUBLIC_KEY, _SECRET_KEY, _USER_ID = 6, 5, 13
_LONGEST_HEADER_BYTES = 6


class PacketReader:
    """Reads the packets of a file whose bytes come in blocks, of which it keeps none."""

    def __init__(self) -> None:
        self._tags: list[int] = []  # each one once
        self._seen_bytes = 0
        self._next = 0
        self._rest = b""
        self._is_broken = False

    def feed(self, offset: int, block: bytes) -> None:
        """Read a block; one that does not follow the last one ends it."""
        if offset != self._seen_bytes:
            self._is_broken = True
        if self._is_broken:
            return
        start = offset - len(self._rest)
        data = self._rest + block
        self._seen_bytes += len(block)
        place = min(self._next - start, len(data))
        try:
            while len(data) - place >= _LONGEST_HEADER_BYTES:
                place += self._take(data, place)
                self._next = start + place
                place = min(place, len(data))
        except ValueError:
            self._is_broken = True
        self._rest = data[place:] if self._next < self._seen_bytes else b""

    def is_public(self, size_bytes: int) -> bool:
        """Tell whether the file, which has this length, is public keys and nothing else."""
        tags = self._whole(size_bytes)
        return bool(tags) and tags[0] == _PUBLIC_KEY and set(tags) <= _PUBLIC_TAGS

    def is_secret(self, size_bytes: int) -> bool:
        """Tell whether the file, which has this length, is a secret key."""
        tags = self._whole(size_bytes)
        is_key = bool(tags) and tags[0] == _SECRET_KEY and _USER_ID in tags
        return is_key and set(tags) <= _PUBLIC_TAGS | _SECRET_TAGS

    def _whole(self, size_bytes: int) -> list[int]:
        """Return the tags of a file that was read to its end, and is packets only."""
        rest, self._rest = self._rest, b""
        place = 0
        try:
            while place < len(rest):
                length = self._take(rest, place)
                place += length
                self._next += length
        except ValueError:
            self._is_broken = True
        whole = not self._is_broken and self._next == self._seen_bytes == size_bytes
        return self._tags if whole else []

    def _take(self, data: bytes, place: int) -> int:
        """Note the packet that begins at `place`; return how long it is with its header."""
        header = data[place]
        if not header & 0x80:
            raise ValueError("no packet")
        if header & 0x40:
            tag = header & 0x3F
            length, size = _new_length(data, place + 1)
        else:
            tag = header >> 2 & 0x0F
            length, size = _old_length(data, place + 1, kind=header & 3)
        if tag not in self._tags:
            self._tags.append(tag)
        return 1 + size + length


def _old_length(data: bytes, place: int, *, kind: int) -> tuple[int, int]:
    if kind == 3:
        raise ValueError("of no length")
    size = 1 << kind
    return int.from_bytes(_bytes(data, place, size=size), "big"), size


def _new_length(data: bytes, place: int) -> tuple[int, int]:
    first = _bytes(data, place, size=1)[0]
    if first < 192:
        return first, 1
    if first < 224:
        return ((first - 192) << 8) + _bytes(data, place + 1, size=1)[0] + 192, 2
    if first < 255:
        raise ValueError("of partial lengths")
    return int.from_bytes(_bytes(data, place + 1, size=4), "big"), 5


def _bytes(data: bytes, place: int, *, size: int) -> bytes:
    taken = data[place : place + size]
    if len(taken) < size:
        raise ValueError("the file ends within a packet")
    return taken
