"""The steps between the tar and the parts: gzip, AES, splitting, and threads."""

import gzip
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.bundle.ahead import ahead
from imgforge.bundle.compression import compress, decompress
from imgforge.bundle.names import part_name
from imgforge.bundle.parts import PART_BYTES, decrypt, encrypt, write_parts
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import Secret
from tests.bundle_material import noise

SECRET = Secret(bytes(range(16)), bytes(range(16, 32)))


def test_members_are_in_order_and_any_gzip_reads_them() -> None:
    chunks = [noise(100_000, seed=number) + bytes(100_000) for number in range(20)]
    packed = b"".join(compress(chunks, workers=3))
    assert gzip.decompress(packed) == b"".join(chunks)
    assert b"".join(decompress([packed])) == b"".join(chunks)
    again = b"".join(compress(chunks, workers=1))
    assert again == packed


def test_gzip_of_others_is_read_in_any_pieces() -> None:
    content = noise(3000) * 50
    packed = gzip.compress(content, 1) + gzip.compress(b"") + gzip.compress(content, 9) + bytes(99)
    for size in (1, 10, 1000, len(packed)):
        pieces = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert b"".join(decompress(pieces)) == content * 2


def test_a_bomb_unfolds_piece_by_piece() -> None:
    packed = zlib.compress(bytes(64 * 2**20), wbits=31)
    sizes = [len(chunk) for chunk in decompress([packed])]
    assert sum(sizes) == 64 * 2**20
    assert max(sizes) <= 2**20


@pytest.mark.parametrize("damage", ["cut", "flip", "garbage behind", "garbage"])
def test_broken_gzip_is_refused(damage: str) -> None:
    packed = bytearray(gzip.compress(noise(5000)))
    match damage:
        case "cut":
            del packed[-3:]
        case "flip":
            packed[-6] ^= 1
        case "garbage behind":
            packed += b"garbage"
        case _:
            packed = bytearray(noise(5000))
    with pytest.raises(BundleError) as caught:
        list(decompress([bytes(packed)]))
    assert caught.value.check == "gzip"


def test_what_is_encrypted_is_decrypted_in_other_pieces() -> None:
    content = noise(100_001)
    pieces = [content[:1], content[1:40_000], content[40_000:]]
    packed = b"".join(encrypt(pieces, SECRET))
    assert len(packed) % 16 == 0
    assert b"".join(decrypt([packed[:33], packed[33:]], SECRET)) == content


@pytest.mark.parametrize("size", [0, 15, 16, 31])
def test_a_cut_ciphertext_is_refused(size: int) -> None:
    packed = b"".join(encrypt([noise(40)], SECRET))
    with pytest.raises(BundleError) as caught:
        list(decrypt([packed[:size]], SECRET))
    assert caught.value.check == "cipher"


@pytest.mark.parametrize("more", [0, 1, PART_BYTES + 1])
def test_parts_have_ten_mebibytes_and_the_last_one_what_is_left(tmp_path: Path, more: int) -> None:
    content = bytes(PART_BYTES + more)
    pieces = (content[start : start + 999_999] for start in range(0, len(content), 999_999))
    written = write_parts(pieces, tmp_path)
    assert sum(part.size_bytes for part in written) == len(content)
    assert all(part.size_bytes == PART_BYTES for part in written[:-1])
    files = [(tmp_path / str(number)).read_bytes() for number in range(len(written))]
    assert b"".join(files) == content


def test_part_names_are_padded_to_the_digits_of_the_count() -> None:
    assert part_name("image", index=0, count=2) == "image.part.0"
    assert part_name("image", index=9, count=10) == "image.part.09"
    assert part_name("image", index=7, count=100) == "image.part.007"


def test_items_come_ahead_in_order_and_errors_where_they_belong() -> None:
    def source() -> Iterator[int]:
        yield from range(10)
        raise ValueError("the source")

    seen: list[int] = []
    with ahead(source()) as items, pytest.raises(ValueError, match="the source"):
        seen.extend(iter(items))
    with ahead(range(3)) as numbers:
        assert list(numbers) == [0, 1, 2]


def test_leaving_early_ends_the_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    before = threading.active_count()
    with ahead(endless()) as items, ahead(items) as further:
        assert next(further) == 1
    assert threading.active_count() == before
