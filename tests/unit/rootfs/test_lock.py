from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.recipe import PackagesSource
from imgforge.rootfs.lock import (
    Lock,
    LockedPackage,
    check_base,
    describe_base,
    describe_changes,
    has_same_packages,
    make_lock,
    read_lock,
)

SOURCE = PackagesSource(kind="packages", suite="bookworm", include=("dropbear-bin", "bash"))


def package(name: str, version: str = "1", digit: str = "0") -> LockedPackage:
    return LockedPackage(
        name=name,
        version=version,
        architecture="amd64",
        sha256=digit * 64,
        size_bytes=1,
        archive=0,
        path=f"pool/{name}.deb",
    )


def lock(*packages: LockedPackage, snapshot: str = "") -> Lock:
    return make_lock(describe_base(SOURCE), packages=packages, snapshot=snapshot)


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    made = lock(package("bb"), package("aa"), snapshot="20260101T000000Z")
    path = tmp_path / "x.lock"
    path.write_text(made.text)
    assert read_lock(path) == made
    assert [item.name for item in made.packages] == ["aa", "bb"]


def test_a_lock_does_not_depend_on_the_order_of_packages() -> None:
    assert lock(package("aa"), package("bb")).sha256 == lock(package("bb"), package("aa")).sha256


def test_changes_are_told_in_words() -> None:
    old = lock(package("same"), package("up", "1"), package("gone"), package("rebuilt"))
    new = lock(package("same"), package("up", "2"), package("more"), package("rebuilt", digit="1"))
    assert list(describe_changes(old, new)) == [
        "gone 1: gone",
        "more 1: new",
        "rebuilt 1: rebuilt (000000000000… → 111111111111…)",
        "up 1 → 2",
    ]


def test_another_mirror_or_date_is_no_change_of_packages() -> None:
    moved = package("aa").model_copy(update={"archive": 1, "path": "pool/a/aa.deb"})
    assert has_same_packages(lock(package("aa")), lock(moved, snapshot="20260101T000000Z"))


def test_a_lock_of_another_recipe_is_refused_with_what_differs(tmp_path: Path) -> None:
    base = describe_base(SOURCE.model_copy(update={"suite": "trixie"}))
    with pytest.raises(BadInputError, match="suite = bookworm, the recipe now says trixie"):
        check_base(lock(package("aa")), base, path=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00\x01",
        '{"schema": 2}',
        lock(package("aa")).text[:-40],
        lock(package("aa")).text.replace("0" * 64, "../../etc/passwd"),
        lock(package("aa")).text.replace("pool/", "pool /"),
        lock(package("aa")).text.replace('"name": "aa"', '"name": "--option"'),
    ],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"Lock .*x\.lock"):
        read_lock(path)


def test_no_lock_is_none(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "x.lock") is None
