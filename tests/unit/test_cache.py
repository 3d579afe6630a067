"""What the cache holds, and what of it goes."""

import json
import os
from pathlib import Path

import pytest

from imgforge.cache import EVERY_AGE_S, PruneWish, choose, default_frozen_limit_bytes, parse_age
from imgforge.errors import BadInputError
from imgforge.inventory import CacheItem, CacheKind, take_inventory
from imgforge.usage import FolderGoneError, alone, in_use, touch_used

KEY = "0123456789abcdef" * 4
NOW_S = 1_000_000.0
ALL = PruneWish(older_than_s=EVERY_AGE_S)


def item(
    name: str,
    *,
    age_s: float = 0,
    size: int = 100,
    used: bool = False,
    kind: CacheKind = CacheKind.ROOTFS,
) -> CacheItem:
    return CacheItem(kind, Path(name), "", size, NOW_S - age_s, used)


def names(items: list[CacheItem]) -> str:
    return "".join(str(chosen.path) for chosen in items)


def test_the_least_recently_used_go_until_the_rest_fits() -> None:
    items = [item("a", age_s=9), item("b", age_s=8), item("c", age_s=7)]
    for size, gone in [(300, ""), (299, "a"), (200, "a"), (199, "ab"), (0, "abc")]:
        going, held = choose(items, PruneWish(max_size_bytes=size), now_s=NOW_S)
        assert (names(going), held) == (gone, [])


def test_what_is_in_use_stays_and_counts() -> None:
    items = [item("a", age_s=9, used=True), item("b", age_s=8), item("c", age_s=7)]
    going, held = choose(items, PruneWish(max_size_bytes=200), now_s=NOW_S)
    assert (names(going), names(held)) == ("b", "a")


def test_what_is_older_goes_and_what_was_used_since_stays() -> None:
    items = [item("a", age_s=100), item("b", age_s=50), item("c", age_s=-10)]
    assert names(choose(items, PruneWish(older_than_s=60), now_s=NOW_S)[0]) == "a"
    assert names(choose(items, ALL, now_s=NOW_S)[0]) == "abc"


def test_leftovers_always_go_and_what_is_not_ours_never() -> None:
    items = [
        item("a", kind=CacheKind.LEFTOVER),
        item("b", kind=CacheKind.LEFTOVER, used=True),
        item("c", kind=CacheKind.OTHER),
    ]
    assert names(choose(items, PruneWish(), now_s=NOW_S)[0]) == "a"
    going, held = choose(items, ALL, now_s=NOW_S)
    assert (names(going), names(held)) == ("a", "b")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 2_592_000), ("12h", 43200), (" 5m ", 300), ("0s", 0), ("2w", 1_209_600)],
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "1.5d", "1y", "٣d", "1 d", "9999999d"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="30d"):
        parse_age(text)


def test_the_limit_of_frozen_machines_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMGFORGE_FROZEN_LIMIT", raising=False)
    assert default_frozen_limit_bytes() == 8 * 2**30
    monkeypatch.setenv("IMGFORGE_FROZEN_LIMIT", "512M")
    assert default_frozen_limit_bytes() == 512 * 2**20
    monkeypatch.setenv("IMGFORGE_FROZEN_LIMIT", "much")
    with pytest.raises(BadInputError, match="IMGFORGE_FROZEN_LIMIT=much"):
        default_frozen_limit_bytes()


def described(cache: Path) -> dict[str, CacheItem]:
    return {str(found.path.relative_to(cache)): found for found in take_inventory(cache)}


def test_everything_is_listed_with_what_it_is(tmp_path: Path) -> None:
    lock = {
        "base": {"suite": "bookworm", "variant": "extract"},
        "packages": [{"name": "bash", "version": "5.2", "sha256": KEY}],
    }
    facts = {"disk": "d", "instance_type": "t2.nano", "qemu_version": "7.2", "created": "now"}
    files = {
        f"rootfs/{KEY}/rootfs.json": json.dumps({"recipe": "minimal"}),
        f"bases/{KEY}.tar": "",
        f"packages/{KEY}.deb": "",
        f"locks/{KEY}.lock": json.dumps(lock),
        f"apt/{KEY}/status": "",
        "accelerator/0123456789abcdef.json": '{"kind": "tcg"}',
        "frozen/k/frozen.json": json.dumps(facts),
        "packages/.imgforge-aside-x/new": "",
        "scratch/.imgforge-aside-y/ours": "",
        "notes": "",
        "rootfs/mine": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "rootfs/locks" / KEY).mkdir(parents=True)
    (tmp_path / "frozen/locks").mkdir()
    found = described(tmp_path)
    assert {name: (thing.kind.value, thing.what) for name, thing in found.items()} == {
        f"rootfs/{KEY}": ("rootfs", "minimal"),
        f"bases/{KEY}.tar": ("bases", ""),
        f"packages/{KEY}.deb": ("packages", "bash 5.2"),
        f"locks/{KEY}.lock": ("locks", "bookworm, extract, 1 packages"),
        f"apt/{KEY}": ("apt", "bookworm, extract, 1 packages"),
        "accelerator/0123456789abcdef.json": ("accelerator", "tcg"),
        "frozen/k": ("frozen", "d on t2.nano, QEMU 7.2, now"),
        "packages/.imgforge-aside-x": ("leftover", "of a run that works, or was killed"),
        "scratch/.imgforge-aside-y": ("leftover", "of a run that works, or was killed"),
        "notes": ("other", "not imgforge's: left alone"),
        "rootfs/mine": ("other", "not imgforge's: left alone"),
    }
    assert not any(thing.in_use for thing in found.values())


def test_a_cache_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert take_inventory(tmp_path / "none") == []
    file = tmp_path / "file"
    file.touch()
    assert take_inventory(file) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "[" * 100_000, '{"recipe": {"a": 1}}', "\0\xff", '{"disk": []}']
)
def test_facts_that_are_garbage_are_told_and_not_believed(tmp_path: Path, text: str) -> None:
    for name in (f"rootfs/{KEY}/rootfs.json", "frozen/k/frozen.json", f"locks/{KEY}.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert len(take_inventory(tmp_path)) == 3


def test_neither_links_nor_pipes_are_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 2**20)
    cache = tmp_path / "cache"
    (cache / "rootfs" / KEY).mkdir(parents=True)
    (cache / "rootfs" / KEY[::-1]).symlink_to(outside)
    (cache / "rootfs" / KEY / "rootfs.json").symlink_to(outside / "big")
    (cache / "rootfs" / KEY / "tree").symlink_to(outside)
    (cache / "frozen" / "k").mkdir(parents=True)
    os.mkfifo(cache / "frozen" / "k" / "frozen.json")
    (cache / "packages").symlink_to(outside)
    (cache / "bases").touch()
    found = described(cache)
    assert set(found) == {
        f"rootfs/{KEY}",
        f"rootfs/{KEY[::-1]}",
        "frozen/k",
        "packages",
        "bases",
    }
    assert all(thing.size_bytes < 2**19 for thing in found.values())
    assert found[f"rootfs/{KEY[::-1]}"].what == f"a link to {outside}, not followed"
    assert found["packages"].kind is CacheKind.OTHER


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    for key in (KEY, KEY[::-1]):
        (tmp_path / "rootfs" / key).mkdir(parents=True)
    first = tmp_path / "rootfs" / KEY / "first"
    first.write_bytes(b"x" * 2**20)
    (first.parent / "second").hardlink_to(first)
    (tmp_path / "rootfs" / KEY[::-1] / "third").hardlink_to(first)
    total = sum(thing.size_bytes for thing in take_inventory(tmp_path))
    assert 2**20 <= total < 2**20 + 2**18


def test_a_hole_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "frozen/k").mkdir(parents=True)
    with (tmp_path / "frozen/k/memory").open("wb") as file:
        file.truncate(2**40)
    assert take_inventory(tmp_path)[0].size_bytes < 2**20


def test_what_is_used_goes_to_the_end_of_the_list(tmp_path: Path) -> None:
    for number, key in enumerate("abc"):
        (tmp_path / "frozen" / key).mkdir(parents=True)
        os.utime(tmp_path / "frozen" / key, (number, number))
    touch_used(tmp_path / "frozen" / "a")
    assert [thing.path.name for thing in take_inventory(tmp_path)] == ["b", "c", "a"]
    touch_used(tmp_path / "frozen" / "none")


def test_what_is_held_is_in_use_and_a_build_holds_all_but_frozen_machines(tmp_path: Path) -> None:
    for name in (f"rootfs/{KEY}", "frozen/a", "frozen/b"):
        (tmp_path / name).mkdir(parents=True)
    with in_use(tmp_path / "frozen" / "a"), in_use(tmp_path / "frozen" / "a"):
        held = {name for name, thing in described(tmp_path).items() if thing.in_use}
        assert held == {"frozen/a"}
    with in_use(tmp_path):
        held = {name for name, thing in described(tmp_path).items() if thing.in_use}
        assert held == {f"rootfs/{KEY}"}


def test_a_folder_that_is_used_cannot_be_had_alone(tmp_path: Path) -> None:
    with in_use(tmp_path), alone(tmp_path) as had:
        assert not had
    with alone(tmp_path) as had:
        assert had


def test_a_folder_that_is_not_there_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(FolderGoneError), in_use(tmp_path / "none"):
        pytest.fail("it is not there")
    with alone(tmp_path / "none") as had:
        assert not had
