"""What goes in, by name, and the account of what does not."""

import pytest

from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, TreeEntry
from imgforge.volume import Cause, LeftOut, Rules, Secret, Selection, summarize
from imgforge.volume.content import Content


def entry(path: str, kind: EntryKind = EntryKind.FILE) -> TreeEntry:
    return TreeEntry(path, kind, 0o644, 0, 0, 0)


FOLDER = EntryKind.DIRECTORY


def test_excluded_paths_go_themselves_and_emptied_folders_stay() -> None:
    selection = Selection(Rules(excluded=["tmp/cert"], mounts={"home": "nfs"}))
    assert not selection.keeps(entry("tmp/cert", FOLDER))
    assert selection.keeps(entry("tmp/certificate"))
    assert selection.keeps(entry("proc", FOLDER))
    assert not selection.enters("proc")
    assert not selection.enters("home")
    assert selection.enters("tmp")
    assert selection.left_out == [
        LeftOut("tmp/cert", Cause.ASKED),
        LeftOut("proc/*", Cause.ALWAYS),
        LeftOut("home/*", Cause.MOUNT),
    ]
    assert selection.unmet_exclusions() == []


def test_an_exclusion_that_met_nothing_is_known_unless_it_lay_in_what_is_out() -> None:
    selection = Selection(Rules(excluded=["tmp/crt", "mnt/cert", "tmp/all", "tmp/all/mine"]))
    selection.enters("mnt")
    selection.keeps(entry("tmp/all", FOLDER))
    assert selection.unmet_exclusions() == ["tmp/crt"]


def test_symbolic_links_and_folders_with_the_name_of_a_keyring_stay() -> None:
    selection = Selection(Rules())
    assert selection.keeps(entry("etc/ssl/certs/x.pem", EntryKind.SYMLINK))
    assert selection.keeps(entry("etc/x.gpg", FOLDER))
    assert not selection.keeps(entry("home/x.pem", FOLDER))
    assert not selection.keeps(entry("home/x.pem"))


@pytest.mark.parametrize(
    ("included", "path"),
    [
        ("/root/.ssh/id_rsa", "root/.ssh/id_rsa"),
        ("root/.ssh/id_rsa", "root/.ssh/id_rsa"),
        ("id_rsa", "root/.ssh/id_rsa"),
        ("*.pem", "srv/x.pem"),
        ("/srv/?.pem", "srv/x.pem"),
        ("/root/.azure", "root/.azure"),
        ("/root/.azure", "root/.azure/x.pem"),
        ("/root/.azure/one.pem", "root/.azure"),
    ],
)
def test_an_inclusion_opens_the_filter(included: str, path: str) -> None:
    kind = FOLDER if path.endswith(".azure") else EntryKind.FILE
    assert not Selection(Rules()).keeps(entry(path, kind))
    selection = Selection(Rules(included=[included, "/never"]))
    assert selection.keeps(entry(path, kind))
    assert selection.keeps_content(entry(path, kind), Content.of(b"key"))
    assert selection.unused_inclusions() == ["/never"]


@pytest.mark.parametrize(("included", "path"), [("/id_rsa", "root/id_rsa"), ("*.pe", "x.pem")])
def test_an_inclusion_opens_no_more_than_it_says(included: str, path: str) -> None:
    assert not Selection(Rules(included=[included])).keeps(entry(path))


def test_without_the_filter_all_goes_in_but_what_is_excluded() -> None:
    selection = Selection(Rules(filtered=False, excluded=["a"]))
    assert selection.keeps(entry("root/.ssh/id_rsa"))
    key = Content.of(b"-----BEGIN PRIVATE KEY-----\nMIIE\n")
    assert selection.keeps_content(entry("x.key"), key)
    assert not selection.looks_into(entry("x.key"), None)
    assert not selection.keeps(entry("a"))


def test_bundles_and_what_is_made_aside_are_not_bundled() -> None:
    selection = Selection(Rules(bundle_folder="tmp"))
    for name in ("image.manifest.xml", "image.part.00", ".imgforge-aside-x1", "o\nld.part.3"):
        assert not selection.keeps(entry(f"tmp/{name}"))
        assert selection.keeps(entry(f"srv/{name}"))
    assert selection.keeps(entry("tmp/image"))
    assert {one.cause for one in selection.left_out} == {Cause.OWN}
    at_the_top = Selection(Rules(bundle_folder="."))
    assert not at_the_top.keeps(entry("x.part.1"))


def test_what_cannot_be_read_is_named_as_far_as_it_fits() -> None:
    selection = Selection(Rules())
    selection.require_readable("Volume /")
    for number in range(12):
        selection.unreadable(f"etc/{number}\n", PermissionError(13, "Permission denied"))
    with pytest.raises(BadInputError, match=r"12 paths cannot be read") as raised:
        selection.require_readable("Volume /")
    assert "/etc/0?: Permission denied" in str(raised.value)
    assert "and 2 more" in str(raised.value)


def test_causes_are_counted_in_words() -> None:
    left_out = [LeftOut("a", Secret.HISTORY), LeftOut("b", Secret.HISTORY), LeftOut("c", Cause.OWN)]
    assert summarize(left_out) == "1 bundle files, 2 histories"
    assert all(summarize([LeftOut("x", cause)]) for cause in (*Cause, *Secret))
