import random

import pytest

from imgforge.disk.menu_parser import Menu, parse_menu, parse_place

GUIDE = b"""default=0
fallback=1
timeout=5
serial --unit=0 --speed=9600
terminal --dumb --timeout=5 serial console

title Vanilla Linux 4.7.4
root (hd0)
kernel /boot/vmlinuz-4.7.4 root=LABEL=/ console=tty1 console=ttyS0
initrd /boot/initrd.img-4.7.4

title Amazon Linux 2017.03 (4.9.17-8.31.amzn1.x86_64)
root (hd0,0)
kernel /boot/vmlinuz-4.9.17-8.31.amzn1.x86_64 root=LABEL=/ console=tty1 console=ttyS0
initrd /boot/initramfs-4.9.17-8.31.amzn1.x86_64.img
"""


def test_reads_the_guides_own_example() -> None:
    menu = parse_menu(GUIDE)
    assert (menu.default, menu.fallback) == (0, (1,))
    first, second = menu.entries
    assert first.title == "Vanilla Linux 4.7.4"
    assert first.kernel == "/boot/vmlinuz-4.7.4"
    assert first.command_line == "root=LABEL=/ console=tty1 console=ttyS0"
    assert first.initrd == "/boot/initrd.img-4.7.4"
    assert second.root == "(hd0,0)"


def test_reads_tabs_equals_signs_comments_crlf_and_no_last_newline() -> None:
    data = (
        b"# comment\r\n\tdefault\t1\r\nfallback = 0 2\r\n#title no\r\ntitle=one\r\n"
        b"  kernel\t/a  x=#1  y\r\ntitle two\r\n\tkernel=/b --type=c\r\n\tinitrd=/i extra"
    )
    menu = parse_menu(data)
    assert (menu.default, menu.fallback) == (1, (0, 2))
    assert [entry.title for entry in menu.entries] == ["one", "two"]
    assert menu.entries[0].kernel == "/a"
    assert menu.entries[0].command_line == "x=#1  y"
    assert menu.entries[1].kernel == "/b"
    assert menu.entries[1].command_line == "--type=c"
    assert menu.entries[1].initrd == "/i"


def test_passes_over_the_kernel_commands_own_options() -> None:
    entry = parse_menu(b"title t\nkernel --type=linux --no-mem-option /k quiet\n").entries[0]
    assert (entry.kernel, entry.command_line) == ("/k", "quiet")


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"default", b"title", b"kernel /k\n", b"\xff\xfe" * 9]
)
def test_an_empty_or_broken_menu_is_no_error(data: bytes) -> None:
    assert all(entry.kernel is None for entry in parse_menu(data).entries)


def test_control_characters_of_a_guest_are_not_kept() -> None:
    entry = parse_menu(b"title a\x1b[31mb\nkernel /k a\x07b\x1b]0;x\n").entries[0]
    assert entry.title == "a[31mb"
    assert entry.command_line == "ab]0;x"


def test_noise_gives_a_menu_and_never_an_error() -> None:
    noise = random.Random(1)
    words = [
        b"title ",
        b"kernel ",
        b"\n",
        b"\t",
        b"=",
        b"root (hd0,",
        b"default 99999999999",
        b"\0",
        b"#",
    ]
    for _ in range(300):
        data = b"".join(
            noise.choice(words) if noise.random() < 0.6 else noise.randbytes(5) for _ in range(60)
        )
        assert isinstance(parse_menu(data), Menu)


def test_a_menu_of_a_million_titles_is_cut() -> None:
    assert len(parse_menu(b"title x\nquit\n" * 1_000_000).entries) == 256


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("(hd0)", 0),
        ("(hd0,0)", 1),
        (" (hd0,3) ", 4),
        ("(hd1)", None),
        ("(hd0,a)", None),
        ("", None),
    ],
)
def test_names_of_grub_become_partitions(text: str, place: int | None) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize(
    ("lines", "timeout_s"),
    [
        (b"", None),
        (b"timeout 5\n", 5),
        (b"timeout x\n", None),
        (b"timeout -1\n", None),
        (b"timeout\n", None),
        (b"timeout 99999999999\n", None),
        (b"timeout 5\ntimeout x\n", 5),
    ],
)
def test_a_timeout_that_is_no_number_is_as_if_absent(lines: bytes, timeout_s: int | None) -> None:
    menu = parse_menu(lines + b"title t\nkernel /k\n")
    assert menu.timeout_s == timeout_s
