"""A tree is copied as far as the filter keeps it: holes, large files, several names of one file."""

from pathlib import Path

import pytest

from imgforge.rootfs import EntryKind, PlainTree, read_standing_tree
from imgforge.volume import LeftOut, Rules, Secret, Selection, gather
from tests.unit.volume.test_secrets import pem

MIB = 2**20
KEY, CERTIFICATE = pem("PRIVATE KEY"), pem("CERTIFICATE")


class Copied:
    """What of a folder came into a tree."""

    def __init__(self, folder: Path, *, included: tuple[str, ...] = ()) -> None:
        self.selection = Selection(Rules(included=included))
        self.tree = PlainTree(folder.with_name("copy"), origin="Volume x", mtime_s=0)
        found = read_standing_tree(folder, self.selection)
        gather(found, tree=self.tree, selection=self.selection)
        self.tree.finish(folder.with_name("index"))

    @property
    def files(self) -> set[str]:
        """The paths of the files, as the tree and its folder have them."""
        top = self.tree.folder
        files = {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()}
        entries = {path: self.tree.get(path) for path in files}
        assert all(entry and entry.kind is EntryKind.FILE for entry in entries.values())
        return files

    @property
    def left_out(self) -> dict[str, object]:
        """Why which path is not there."""
        found: dict[str, object] = {one.path: one.cause for one in self.selection.left_out}
        assert len(found) == len(self.selection.left_out)
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir()
    return made


def write(path: Path, data: bytes, *, at: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.seek(at)
        file.write(data)
    return path


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.hardlink_to(target)


def test_keys_behind_holes_and_in_large_files_stay_out(folder: Path) -> None:
    write(folder / "srv/holed.key", KEY, at=5 * MIB)
    write(folder / "srv/holed", KEY, at=3 * MIB + 7)
    write(folder / "srv/across", KEY, at=2 * MIB - 13)
    write(folder / "srv/large", b"x" * 3 * MIB + KEY)
    write(folder / "etc/ssl/all.pem", CERTIFICATE * 30_000 + KEY)
    write(folder / "etc/ssl/public.pem", CERTIFICATE * 30_000)
    write(folder / "srv/harmless", b"x" * 3 * MIB, at=MIB)
    copied = Copied(folder)
    assert copied.files == {"etc/ssl/public.pem", "srv/harmless"}
    assert set(copied.left_out.values()) == {Secret.PRIVATE_KEY}
    assert copied.selection.surprising == ["srv/across", "srv/holed", "srv/large"]
    assert (copied.tree.folder / "srv/harmless").stat().st_size == 4 * MIB


@pytest.mark.parametrize("name", ["backup", "zz/backup"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("root/.ssh/id_rsa", Secret.PRIVATE_KEY),
        ("root/.bash_history", Secret.HISTORY),
        ("root/.aws/credentials", Secret.CREDENTIALS),
        ("root/.ssh/authorized_keys", Secret.LOGIN_KEY),
    ],
)
def test_further_names_of_a_file_that_is_left_out_are_left_out(
    folder: Path, path: str, kind: Secret, name: str
) -> None:
    secret = write(folder / path, b"no form of a key")
    link(folder / name, secret)
    link(folder / "usr/share/doc/name", secret)
    write(folder / "srv/other", b"no form of a key")
    copied = Copied(folder)
    assert copied.files == {"srv/other"}
    assert copied.left_out == {path: kind, name: kind, "usr/share/doc/name": kind}


def test_further_names_of_a_key_known_by_its_content_are_left_out(folder: Path) -> None:
    for first, second in (("usr/lib/a", "var/a"), ("srv/b", "usr/lib/b"), ("usr/c", "usr/lib/c")):
        link(folder / second, write(folder / first, KEY))
    assert Copied(folder).files == {"usr/c", "usr/lib/c"}  # packages' own


def test_what_is_no_secret_keeps_its_further_names(folder: Path) -> None:
    link(folder / "etc/edited~", write(folder / "etc/edited", b"text"))
    link(folder / "var/empty", write(folder / "root/.bash_history", b""))
    link(folder / "home/a/ca.pem", write(folder / "etc/ssl/ca.pem", CERTIFICATE))
    link(folder / "srv/.npmrc", write(folder / "root/.npmrc", b"fund=false"))
    copied = Copied(folder)
    assert copied.files == {
        "etc/edited",
        "var/empty",
        "etc/ssl/ca.pem",
        "root/.npmrc",
        "srv/.npmrc",
    }
    inodes = {(copied.tree.folder / name).stat().st_ino for name in ("root/.npmrc", "srv/.npmrc")}
    assert len(inodes) == 1


def test_a_further_name_can_be_included(folder: Path) -> None:
    secret = write(folder / "root/.ssh/id_rsa", KEY)
    link(folder / "srv/mine", secret)
    link(folder / "srv/too", secret)
    copied = Copied(folder, included=("/srv/mine",))
    assert copied.files == {"srv/mine"}
    assert LeftOut("srv/too", Secret.PRIVATE_KEY) in copied.selection.left_out
    assert copied.selection.unused_inclusions() == []
