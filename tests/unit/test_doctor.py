"""How doctor judges what it found."""

from pathlib import Path

import pytest

from imgforge.distribution import Distribution, Family, parse_os_release
from imgforge.doctor import (
    LEAST_MEMORY_BYTES,
    Finding,
    HostReport,
    ProgramState,
    count_subordinate_ids,
    examine_memory,
    examine_python,
    examine_space,
    install_line,
)

THERE = ProgramState("there", "x", True, "/bin/there", "1", {Family.DEBIAN: "there"})
GONE = ProgramState(
    "gone",
    "x",
    True,
    "",
    "",
    {Family.DEBIAN: "gone-deb", Family.FEDORA: "gone-rpm", Family.ARCH: "gone (AUR)"},
)


@pytest.mark.parametrize(
    ("text", "name", "family"),
    [
        ('PRETTY_NAME="Debian 12"\nID=debian\n', "Debian 12", Family.DEBIAN),
        ("ID=ubuntu\nID_LIKE=debian\n", "ubuntu", Family.DEBIAN),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "rocky", Family.FEDORA),
        ("ID=fedora", "fedora", Family.FEDORA),
        ("ID=manjaro\nID_LIKE=arch", "manjaro", Family.ARCH),
        ("ID=arch", "arch", Family.ARCH),
        ("ID=void", "void", Family.OTHER),
        ("ID=other", "other", Family.OTHER),
        ("# ID=debian\n", "unknown", Family.OTHER),
        ("", "unknown", Family.OTHER),
        ('ID="debian', "unknown", Family.OTHER),
        ("\x00=\x00\n==\nID", "unknown", Family.OTHER),
        ("ID_LIKE='debian' ID=arch", "unknown", Family.DEBIAN),
    ],
)
def test_the_family_follows_from_os_release(text: str, name: str, family: Family) -> None:
    assert parse_os_release(text) == Distribution(name, family)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("me:100000:65536\n", 65536),
        ("me:1:2\nother:1:100\n1000:1:3\n", 5),
        ("mean:1:2\n", 0),
        ("", 0),
        ("me:1\nme:1:x\nme:1:-5\nme\n::\n:1:7\nme:1:²\n", 0),
    ],
)
def test_subordinate_ids_are_counted_by_name_and_number(text: str, count: int) -> None:
    assert count_subordinate_ids(text, names={"me", "1000", ""}) == count


def test_too_little_memory_or_space_is_not_good_enough(tmp_path: Path) -> None:
    assert not examine_memory(LEAST_MEMORY_BYTES - 1).good
    assert examine_memory(LEAST_MEMORY_BYTES).good
    assert examine_memory(LEAST_MEMORY_BYTES).needed == "1.5 GiB"
    space = examine_space("results", tmp_path / "not" / "there", 2**80)
    assert not space.good
    assert str(tmp_path) in space.found


def test_an_old_python_is_not_good_enough() -> None:
    assert not examine_python((3, 10, 12)).good
    assert examine_python((3, 11, 0)).good
    assert examine_python((3, 13, 1)).needed == "3.11 or newer"


def test_only_what_is_required_makes_a_host_not_ready() -> None:
    debian = Distribution("Debian", Family.DEBIAN)
    lesser = Finding(name="/dev/kvm", good=False, required=False, found="none")
    lacking = Finding(name="memory", good=False, required=True, found="none")
    ready = HostReport(debian, (THERE,), (lesser,), None)
    assert ready.ready
    assert ready.install_line() == ""
    not_ready = HostReport(debian, (THERE, GONE), (lesser, lacking), None)
    assert not_ready.missing == ("gone", "memory")
    assert not not_ready.ready


@pytest.mark.parametrize(
    ("family", "line"),
    [
        (Family.DEBIAN, "scripts/setup"),
        (Family.FEDORA, "dnf install gone-rpm"),
        (Family.ARCH, "# by hand: gone (AUR)"),
        (Family.OTHER, "# Debian's names: gone-deb"),
    ],
)
def test_the_install_line_is_the_distributions_own(family: Family, line: str) -> None:
    assert install_line(family, [THERE, GONE]) == line
