from io import BytesIO
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, TreeEntry


def describe(path: str, kind: EntryKind = EntryKind.FILE, mode: int = 0o644) -> TreeEntry:
    return TreeEntry(path, kind, mode, 0, 0, 7)


@pytest.fixture
def tree(tmp_path: Path) -> PlainTree:
    return PlainTree(tmp_path / "tree", origin="Tar x.tar", mtime_s=7)


def put(tree: PlainTree, path: str, content: bytes = b"x") -> None:
    tree.add_file(describe(path), BytesIO(content))


def link(tree: PlainTree, path: str, target: str) -> None:
    tree.add_symlink(describe(path, EntryKind.SYMLINK), target)


def test_missing_parents_become_folders_of_root(tree: PlainTree) -> None:
    put(tree, "a/b/c")
    parent = tree.get("a/b")
    assert parent is not None
    assert (parent.kind, parent.mode, parent.uid) == (EntryKind.DIRECTORY, 0o755, 0)


def test_an_awaited_folder_keeps_its_mode(tree: PlainTree) -> None:
    tree.await_folder(describe("a", EntryKind.DIRECTORY, 0o700))
    assert tree.get("a") is None
    put(tree, "a/b")
    found = tree.get("a")
    assert found is not None
    assert found.mode == 0o700


def test_a_later_file_replaces_an_earlier_one(tree: PlainTree) -> None:
    put(tree, "a", b"old")
    put(tree, "a", b"new")
    assert (tree.folder / "a").read_bytes() == b"new"


def test_a_replaced_file_leaves_its_hard_link_alone(tree: PlainTree) -> None:
    put(tree, "a", b"old")
    tree.add_hard_link("b", "a")
    put(tree, "a", b"new")
    assert (tree.folder / "b").read_bytes() == b"old"


def test_a_file_goes_where_a_symlinked_folder_leads(tree: PlainTree) -> None:
    put(tree, "usr/lib/old")
    link(tree, "lib", "usr/lib")
    put(tree, "lib/new")
    tree.add_folder(describe("lib", EntryKind.DIRECTORY, 0o755))
    assert tree.get("usr/lib/new") is not None
    assert (tree.folder / "lib").is_symlink()


@pytest.mark.parametrize("target", ["/outside", "../../outside", "/../../outside"])
def test_a_symlink_out_of_the_tree_leads_back_into_it(
    tree: PlainTree, tmp_path: Path, target: str
) -> None:
    (tmp_path / "outside").mkdir()
    link(tree, "way", target)
    put(tree, "way/x")
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tree.folder / "outside/x").read_bytes() == b"x"
    assert tree.locate("way/x") == tree.folder / "outside/x"


def test_a_loop_of_symlinks_is_refused(tree: PlainTree) -> None:
    link(tree, "a", "b")
    link(tree, "b", "a")
    with pytest.raises(BadInputError, match="loop"):
        put(tree, "a/x")


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "a/..", "x" * 256, "y/" * 2000 + "x", "a\0b"]
)
def test_an_impossible_path_is_refused(tree: PlainTree, path: str) -> None:
    with pytest.raises(BadInputError, match=r"Tar x\.tar"):
        put(tree, path)


def test_a_folder_cannot_become_a_file_nor_a_file_a_folder(tree: PlainTree) -> None:
    put(tree, "a/b")
    with pytest.raises(BadInputError, match="folder"):
        put(tree, "a")
    with pytest.raises(BadInputError, match="folder"):
        tree.add_folder(describe("a/b", EntryKind.DIRECTORY))


@pytest.mark.parametrize("target", ["nowhere", "../../etc/passwd", "."])
def test_a_hard_link_to_no_file_of_the_tree_is_refused(tree: PlainTree, target: str) -> None:
    with pytest.raises(BadInputError):
        tree.add_hard_link("a", target)


def test_the_digest_does_not_depend_on_the_order(tmp_path: Path) -> None:
    digests = set()
    for order in (["a", "b"], ["b", "a"]):
        tree = PlainTree(tmp_path / "-".join(order), origin="x", mtime_s=7)
        for name in order:
            put(tree, name, name.encode())
        digests.add(tree.finish(tmp_path / "index"))
    assert len(digests) == 1


@pytest.mark.parametrize("change", ["content", "mode", "link"])
def test_the_digest_covers_contents_metadata_and_hard_links(tmp_path: Path, change: str) -> None:
    digests = []
    for kind in ("none", change):
        tree = PlainTree(tmp_path / kind, origin="x", mtime_s=7)
        content = b"2" if kind == "content" else b"1"
        tree.add_file(describe("a", mode=0o600 if kind == "mode" else 0o644), BytesIO(content))
        if kind == "link":
            tree.add_hard_link("b", "a")
        else:
            tree.add_file(describe("b"), BytesIO(b"1"))
        digests.append(tree.finish(tmp_path / "index")[0])
    assert digests[0] != digests[1]


def test_blocks_of_zeros_become_holes(tree: PlainTree) -> None:
    put(tree, "big", bytes(8 * 2**20) + b"end")
    status = (tree.folder / "big").stat()
    assert status.st_size == 8 * 2**20 + 3
    assert status.st_blocks * 512 < 2**20


@pytest.mark.parametrize("folder", ["d/" * 1400, "d/" * 256, f"{'e' * 200}/" * 10])
def test_a_path_that_mke2fs_would_crash_on_is_refused_by_name(tree: PlainTree, folder: str) -> None:
    with pytest.raises(BadInputError, match=f"'{folder[:8]}.*(2000|255)"):
        put(tree, f"{folder}file")


def test_the_deepest_and_the_longest_path_are_taken(tree: PlainTree) -> None:
    put(tree, "d/" * 255 + "f")
    put(tree, f"{'e' * 199}/" * 9 + "f" * 200)


def test_a_symlink_does_not_lead_past_the_longest_path(tree: PlainTree) -> None:
    long = "/".join(["e" * 199] * 9)
    put(tree, f"{long}/f")
    link(tree, "short", long)
    with pytest.raises(BadInputError, match=r"'short/.* bytes; mke2fs takes up to 2000"):
        put(tree, f"short/{'g' * 201}")
