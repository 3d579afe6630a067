"""menu.lst is kept byte for byte, whatever it holds."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgforge.disk.menu_edit import NewEntry, add_entry
from imgforge.disk.menu_lines import LineKind, read_lines
from imgforge.disk.menu_parser import parse_fallback, parse_menu
from imgforge.errors import BadInputError

CORPUS = sorted((Path(__file__).parents[2] / "data" / "menu_lst").glob("*.lst"))
WORDS = [
    b"title ", b"kernel ", b"root (hd0)", b"initrd ", b"default ", b"fallback ", b"timeout 0",
    b"configfile ", b"\n", b"\r\n", b"\r", b"\t", b"=", b"#", b"\\", b"\\\n", b"\0", b" ", b"/a",
    b"1", b"0x", b"99999999999", b"\xff", "ß".encode(), b"--type=", b"saved", b"module ", b"lock",
]  # fmt: skip
MENUS = st.one_of(
    st.binary(max_size=300), st.lists(st.sampled_from(WORDS), max_size=60).map(b"".join)
)


@given(MENUS)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_and_kept(data: bytes) -> None:
    lines = list(read_lines(data))
    assert b"".join(line.raw for line in lines) == data
    menu = parse_menu(data)
    assert all(index < len(menu.entries) for index in menu.order)
    for problem in menu.problems:
        assert 1 <= problem.line <= data.count(b"\n") + 1
        assert 1 <= problem.column <= len(data) + 1


@given(MENUS)
@settings(max_examples=300, deadline=None)
def test_any_bytes_with_a_new_entry_boot_it_first_and_keep_all_else(data: bytes) -> None:
    before = parse_menu(data)
    try:
        edited = add_entry(data, NewEntry(title="new", kernel="/new", command_line="ro"))
    except BadInputError:
        return
    menu = parse_menu(edited)
    assert (menu.entries[0].title, menu.entries[0].kernel) == ("new", "/new")
    assert menu.order[1:] == tuple(index + 1 for index in before.order)[:8]
    kept = [line.raw.rstrip(b"\r\n") for line in read_lines(edited)]
    for line in read_lines(data):
        if line.kind is LineKind.COMMAND and line.command not in {b"default", b"fallback"}:
            assert line.raw.rstrip(b"\r\n") in kept


@pytest.mark.parametrize("data", [b"\\", b"pager \\\n", b"#\\\r\n", b"pager\\\r"])
def test_an_end_that_would_join_what_follows_is_refused(data: bytes) -> None:
    with pytest.raises(BadInputError, match="ends with a backslash"):
        add_entry(data, NewEntry(title="new", kernel="/new"))


@pytest.mark.parametrize("end", [b"\\" + b"\r" * 200_000 + b"x\n", b"\\\r" * 100_000 + b"x"])
def test_very_many_carriage_returns_behind_backslashes_are_no_open_end(end: bytes) -> None:
    # A search that begins anew at each of them would take minutes: the test would not end.
    assert add_entry(b"default 0\n" + end, NewEntry(title="new", kernel="/new")).count(end) == 1


@pytest.mark.parametrize("kind", ["title", "command_line"])
def test_a_line_that_grub_would_cut_is_refused(kind: str) -> None:
    values = {"title": "n", "kernel": "/k", kind: "x" * 1499}
    with pytest.raises(BadInputError, match="GRUB cuts it at 1500"):
        add_entry(b"", NewEntry(**values))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_menu_of_the_corpus_is_kept_and_can_be_edited(path: Path) -> None:
    data = path.read_bytes()
    assert b"".join(line.raw for line in read_lines(data)) == data
    # One has as long a line as GRUB reads: with a longer kernel's path it would be cut.
    line = "ro" if path.stem == "long-line" else None
    new = NewEntry(title="new", kernel="/boot/new", initrd="/boot/initrd-new", command_line=line)
    edited = add_entry(data, new)
    entry = parse_menu(edited).entries[0]
    assert (entry.kernel, entry.initrd) == ("/boot/new", "/boot/initrd-new")


@pytest.mark.parametrize(
    "data",
    [b"\n" * 10**7, b"a\n" * (5 * 10**6), b"\\\n" * (5 * 10**6), b"\0" * 10**7, b"x" * 10**7],
)
def test_ten_megabytes_are_read_in_part_and_kept_whole(data: bytes) -> None:
    lines = list(read_lines(data))
    assert lines[-1].kind is LineKind.REST
    assert b"".join(line.raw for line in lines) == data
    assert parse_menu(data).problems[-1].id in {"file-too-large", "command-unknown"}
    with pytest.raises(BadInputError, match="too many to be edited"):
        add_entry(data, NewEntry(title="new", kernel="/new"))


def test_problems_have_line_and_column() -> None:
    menu = parse_menu(b"timeout 0\n  default first\ntitle one\n\tfrobnicate\n boot \\\n x\n")
    assert [(p.id, p.line, p.column) for p in menu.problems] == [
        ("number-bad", 2, 11),
        ("command-unknown", 4, 2),
    ]


@pytest.mark.parametrize(
    ("argument", "numbers"),
    [
        ("", ()),
        ("1", (1,)),
        ("1 2  3", (1, 2, 3)),
        ("0x10 1", (16, 1)),
        ("1 1", (1,)),
        ("1 1 2", None),  # GRUB stumbles over what follows a number it had
        ("1 x", None),
        ("-1", None),
        ("1 2 3 4 5 6 7 8 9", (1, 2, 3, 4, 5, 6, 7, 8)),
    ],
)
def test_a_fallback_is_read_as_grub_reads_it(
    argument: str, numbers: tuple[int, ...] | None
) -> None:
    assert parse_fallback(argument) == numbers


GUIDE = (Path(__file__).parents[2] / "data" / "menu_lst" / "guide-pv.lst").read_bytes()


def test_the_guides_own_change_is_the_guides_own_file() -> None:
    """Taken back to what it was before the new kernel, and changed: the guide's example again."""
    title = GUIDE.index(b"title Vanilla")
    old_title = GUIDE.index(b"title Amazon")
    before = GUIDE[:title].replace(b"fallback 1\n", b"") + GUIDE[old_title:]
    entry = NewEntry(
        title="Vanilla Linux 4.7.4",
        kernel="/boot/vmlinuz-4.7.4",
        initrd="/boot/initrd.img-4.7.4",
    )
    edited = add_entry(before, entry)
    swapped = GUIDE.replace(
        b"fallback 1\ntimeout 0\nhiddenmenu\n", b"timeout 0\nhiddenmenu\nfallback 1\n"
    )
    assert edited == swapped


def test_what_booted_so_far_is_the_fallback_also_where_it_was_not_the_first() -> None:
    data = b"default=1\r\nfallback=2 # x\r\ntitle a\r\nboot\r\ntitle b\r\nboot\r\n"
    menu = parse_menu(add_entry(data, NewEntry(title="n", kernel="/k")))
    assert (menu.default, menu.fallback) == (0, (2,))
    assert add_entry(data, NewEntry(title="n", kernel="/k")).count(b"\n") == data.count(b"\n") + 4


@pytest.mark.parametrize(
    "values",
    [
        {"title": "a\nb", "kernel": "/k"},
        {"title": " ", "kernel": "/k"},
        {"title": "a", "kernel": "k"},
        {"title": "a", "kernel": "/a b"},
        {"title": "a", "kernel": "/k", "initrd": "(hd1)/i"},
        {"title": "a", "kernel": "/k", "root": "(hd1)"},
        {"title": "a", "kernel": "/k", "command_line": "a\\\nb"},
        {"title": "\udcff", "kernel": "/k"},
        {"title": "a", "kernel": "/\udcff"},
        {"title": "a", "kernel": "/k", "command_line": "a\x01"},
    ],
)
def test_what_menu_lst_cannot_say_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(BadInputError):
        NewEntry(**values)
