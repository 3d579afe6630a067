"""Blocks in packs: kept once, read by all, and taken away where they are."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imgforge.catalog.packs import BLOCK_BYTES, Packs


def block(word: str) -> tuple[bytes, bytes]:
    """Return a block and its digest."""
    data = word.encode().ljust(BLOCK_BYTES, b".")
    return data, hashlib.sha256(data).digest()


def keep(packs: Packs, *words: str) -> None:
    for word in words:
        data, digest = block(word)
        packs.keep(data, digest=digest)


def there(packs: Packs, *words: str) -> list[str]:
    """Return which of the blocks are there, as they were."""
    found = {word: packs.read(block(word)[1]) for word in words}
    assert all(data in {None, block(word)[0]} for word, data in found.items())
    return [word for word, data in found.items() if data is not None]


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


def taken_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("*.pack"))


def test_a_block_is_read_by_whoever_kept_it_and_by_others(tmp_path: Path) -> None:
    packs, other = Packs(tmp_path), Packs(tmp_path)
    assert there(other, "a", "b") == []
    keep(packs, "a")
    assert there(packs, "a", "b") == ["a"]
    assert there(other, "a", "b") == ["a"]
    keep(packs, "b")
    assert there(other, "a", "b") == ["a", "b"]


def test_a_block_is_kept_once_by_one_and_by_the_next(tmp_path: Path) -> None:
    for _ in range(3):
        packs = Packs(tmp_path)
        keep(packs, "a", "a", "b")
        packs.close()
    assert names(tmp_path) == [".index", ".pack"]
    assert taken_bytes(tmp_path) == 2 * BLOCK_BYTES


def test_nothing_is_made_where_nothing_is_kept(tmp_path: Path) -> None:
    packs = Packs(tmp_path)
    assert packs.read(block("a")[1]) is None
    assert packs.sweep(lambda _: False) == 0
    packs.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_needed_gives_its_space_back(tmp_path: Path) -> None:
    packs = Packs(tmp_path)
    keep(packs, "a", "b", "c")
    needed = block("b")[1]
    assert Packs(tmp_path).sweep(lambda digest: digest == needed) == 2
    assert there(packs, "a", "b", "c") == ["b"]
    assert taken_bytes(tmp_path) == BLOCK_BYTES


def test_what_was_swept_is_kept_anew(tmp_path: Path) -> None:
    packs = Packs(tmp_path)
    keep(packs, "a", "b")
    Packs(tmp_path).sweep(lambda _: False)
    keep(packs, "b")
    assert there(packs, "a", "b") == ["b"]
    assert there(Packs(tmp_path), "a", "b") == ["b"]


def test_an_empty_pack_goes_when_nobody_writes_to_it(tmp_path: Path) -> None:
    packs = Packs(tmp_path)
    keep(packs, "a")
    other = Packs(tmp_path)
    other.sweep(lambda _: False)
    assert names(tmp_path) == [".index", ".pack"]
    packs.close()
    other.sweep(lambda _: False)
    assert names(tmp_path) == []
    keep(packs, "a")  # of one that was closed and goes on
    assert there(other, "a") == ["a"]


def test_a_block_that_is_there_twice_is_once_after_a_sweep(tmp_path: Path) -> None:
    first, second = Packs(tmp_path), Packs(tmp_path)
    keep(first, "x")
    keep(second, "y")  # both have looked now
    keep(first, "a")
    keep(second, "a")
    assert Packs(tmp_path).sweep(lambda _: True) == 1
    assert there(first, "a", "x", "y") == there(second, "a", "x", "y") == ["a", "x", "y"]
    assert taken_bytes(tmp_path) == 3 * BLOCK_BYTES


def test_what_a_kill_left_without_a_digest_goes_with_a_sweep(tmp_path: Path) -> None:
    packs = Packs(tmp_path)
    keep(packs, "a")
    [pack] = tmp_path.glob("*.pack")
    with pack.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(1000) + b"half", 5 * BLOCK_BYTES)
    packs.close()
    assert Packs(tmp_path).sweep(lambda _: True) == 0
    assert taken_bytes(tmp_path) == BLOCK_BYTES
    assert there(packs, "a") == ["a"]


def test_a_block_that_is_cut_short_is_none(tmp_path: Path) -> None:
    packs = Packs(tmp_path)
    keep(packs, "a", "b")
    [pack] = tmp_path.glob("*.pack")
    os.truncate(pack, 2 * BLOCK_BYTES - 1)
    assert there(packs, "a", "b") == ["a"]
    [index] = tmp_path.glob("*.index")
    index.write_bytes(index.read_bytes()[:40])
    assert there(Packs(tmp_path), "a", "b") == ["a"]


def test_a_block_that_a_failed_host_did_not_write_is_kept_anew(tmp_path: Path) -> None:
    before = Packs(tmp_path)
    keep(before, "a", "b")
    before.close()
    [pack] = tmp_path.glob("*.pack")
    with pack.open("r+b") as file:
        os.pwrite(file.fileno(), bytes(4096), 0)
    packs = Packs(tmp_path)
    keep(packs, "a", "b")
    assert there(packs, "a", "b") == there(Packs(tmp_path), "a", "b") == ["a", "b"]
    assert taken_bytes(tmp_path) == 3 * BLOCK_BYTES


def test_many_blocks_are_whole_when_some_went_to_the_disk_meanwhile(tmp_path: Path) -> None:
    words = [str(number) for number in range(300)]
    packs = Packs(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda word: keep(packs, word), words))
    packs.close()
    assert there(packs, *words) == there(Packs(tmp_path), *words) == words
