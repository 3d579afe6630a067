"""A tree read where it stands, while somebody else writes to it."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, PlainTree, TreeEntry, read_standing_tree
from imgforge.volume import Cause, LeftOut, Rules, Selection, gather

MIB = 2**20


class Meddler(Selection):
    """Keeps all, and does something to the tree when it is asked about a path."""

    def __init__(self, path: str, act: Callable[[], object]) -> None:
        super().__init__(Rules(filtered=False))
        self._path, self._act = path, act

    def keeps(self, entry: TreeEntry, identity: tuple[int, int] | None = None) -> bool:
        if entry.path == self._path:
            self._act()
        return super().keeps(entry, identity)


def read(folder: Path, selection: Selection, place: Path) -> PlainTree:
    tree = PlainTree(place / "read", origin="Volume x", mtime_s=0)
    gather(read_standing_tree(folder, selection), tree=tree, selection=selection)
    return tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "a").mkdir(parents=True)
    (folder / "a/file").write_bytes(b"one" * MIB)
    (folder / "a/last").write_text("last")
    (folder / "b").mkdir()
    return folder


def test_a_file_that_vanishes_is_left_out_and_named(tree: Path, tmp_path: Path) -> None:
    selection = Meddler("a/file", (tree / "a/file").unlink)
    read(tree, selection, tmp_path)
    assert selection.left_out == [LeftOut("a/file", Cause.VANISHED)]
    assert (tmp_path / "read/a/last").read_text() == "last"
    selection = Meddler("b", (tree / "b").rmdir)
    tmp_path = tmp_path / "again"
    tmp_path.mkdir()
    read(tree, selection, tmp_path)
    assert selection.left_out == [LeftOut("b", Cause.VANISHED)]


def test_a_file_that_grows_or_shrinks_while_it_is_read_is_named(tree: Path, tmp_path: Path) -> None:
    class Writer(Selection):
        def looks_into(self, entry: TreeEntry, identity: tuple[int, int] | None) -> bool:
            if entry.path == "a/file":
                with (tree / "a/file").open("ab") as file:
                    file.write(b"more")
            if entry.path == "a/last":
                os.truncate(tree / "a/last", 0)
            return super().looks_into(entry, identity)

    selection = Writer(Rules())
    read(tree, selection, tmp_path)
    assert selection.changed == ["a/file", "a/last"]
    assert (tmp_path / "read/a/file").read_bytes() == b"one" * MIB
    assert (tmp_path / "read/a/last").stat().st_size == 4


@pytest.mark.parametrize("path", ["a", "a/file"])
def test_no_symbolic_link_put_in_the_way_is_followed(tree: Path, tmp_path: Path, path: str) -> None:
    """A person's folder becomes a link to what only root reads: it is root who bundles."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("only root's")

    def swap() -> None:
        (tree / path).rename(tmp_path / "moved")
        (tree / path).symlink_to(secret if path == "a" else secret / "file")

    with suppress(BadInputError):  # it says that it cannot be read
        read(tree, Meddler(path, swap), tmp_path)
    found = [one for one in (tmp_path / "read").rglob("*") if one.is_file()]
    assert all(b"only root's" not in one.read_bytes() for one in found)


def test_a_loop_of_links_and_deep_folders_are_no_trouble(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    deep = folder / "/".join(["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "end").write_text("x")
    (folder / "loop").symlink_to(".")
    (folder / "x").symlink_to("y")
    (folder / "y").symlink_to("x")
    read(folder, Selection(Rules()), tmp_path)
    assert (tmp_path / "read" / deep.relative_to(folder) / "end").read_text() == "x"
    assert (tmp_path / "read/x").readlink() == Path("y")


def test_a_file_of_terabytes_of_nothing_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    with (folder / "lastlog").open("wb") as file:
        file.truncate(8 * 2**40)
        file.seek(5 * 2**40)
        file.write(b"here")
    plain = read(folder, Selection(Rules()), tmp_path).folder / "lastlog"
    assert (plain.stat().st_size, plain.stat().st_blocks < 5000) == (8 * 2**40, True)
    digests = set()
    for name, text in (("once", b"here"), ("twice", b"here"), ("other", b"Here")):
        with (folder / "lastlog").open("r+b") as file:
            file.seek(5 * 2**40)
            file.write(text)
        (tmp_path / name).mkdir()
        os.utime(folder / "lastlog", (0, 0))
        os.utime(folder, (0, 0))
        again = read(folder, Selection(Rules()), tmp_path / name)
        digests.add(again.finish(tmp_path / name / "index")[0])
    assert len(digests) == 2


def test_the_root_itself_keeps_its_mode_and_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    folder.chmod(0o751)
    found = next(iter(read_standing_tree(folder, Selection(Rules()))))
    assert (found.entry.path, found.entry.mode) == (".", 0o751)
    assert found.entry.kind is EntryKind.DIRECTORY
    with pytest.raises(BadInputError, match="cannot be read"):
        list(read_standing_tree(tmp_path / "none", Selection(Rules())))
