"""Who gets a place for a machine, and which folder may say so."""

import os
from pathlib import Path

import pytest

from imgforge import host, places
from imgforge.errors import HostError
from imgforge.places import Offer, Place, find_obstacle, machines_at_a_time, reserve

MIB = 2**20


def place(
    ticket: int, memory_mib: int = 768, *, held: bool = True, processors: int = 1, process: int = 0
) -> Place:
    return Place(ticket, process or 100 + ticket, memory_mib * MIB, processors, held)


def offer(
    *, total_mib: int = 8192, available_mib: int = 8192, processors: int = 8, **used: int
) -> Offer:
    used_bytes = {int(name[1:]): size * MIB for name, size in used.items()}
    return Offer(total_mib * MIB, available_mib * MIB, processors, used_bytes)


WISH = place(9, held=False)


def test_a_machine_that_fits_beside_the_others_gets_its_place() -> None:
    assert find_obstacle(WISH, [place(1), place(2)], offer()) == ""


def test_one_machine_is_let_through_however_small_the_host() -> None:
    small = offer(total_mib=100, available_mib=50, processors=1)
    assert find_obstacle(WISH, [], small) == ""
    assert find_obstacle(WISH, [place(10, held=False)], small) == ""


def test_whoever_asked_earlier_goes_first_even_where_the_later_one_fits() -> None:
    waiting = place(3, 1, held=False)
    assert "1 asked earlier" in find_obstacle(WISH, [waiting], offer())
    assert find_obstacle(WISH, [place(10, held=False), place(1)], offer()) == ""


def test_what_was_given_is_within_the_hosts_memory_in_all() -> None:
    told = find_obstacle(WISH, [place(1, 1000)], offer(total_mib=1500))
    assert told == "1 place held, with 1000 MiB of 1500 MiB memory in all"


def test_what_was_given_and_is_not_used_yet_is_within_what_is_available() -> None:
    told = find_obstacle(WISH, [place(1), place(2)], offer(available_mib=2000))
    assert told == (
        "2 places held, with 1536 MiB still to be taken of the 2000 MiB memory available"
    )


def test_what_machines_use_already_is_not_counted_twice() -> None:
    assert find_obstacle(WISH, [place(1), place(2)], offer(available_mib=2000, p101=700)) == ""


def test_a_process_that_uses_more_than_it_reserved_does_not_pay_for_others() -> None:
    others = [place(1), place(2)]
    assert find_obstacle(WISH, others, offer(available_mib=1000, p101=5000))
    # but one process may hold several places
    same = [place(1, process=5), place(2, process=5)]
    assert find_obstacle(WISH, same, offer(available_mib=1000, p5=1400)) == ""


def test_each_machine_has_its_processors_unless_it_asks_for_none() -> None:
    assert "1 of 1 processors" in find_obstacle(WISH, [place(1)], offer(processors=1))
    none = place(9, held=False, processors=0)
    assert find_obstacle(none, [place(1)], offer(processors=1)) == ""
    assert find_obstacle(WISH, [place(1, processors=0)], offer(processors=1)) == ""


def test_at_least_one_machine_goes_at_a_time_and_no_more_than_processors() -> None:
    assert machines_at_a_time(2**60) == 1
    assert machines_at_a_time(1) == host.cpu_count()


def test_a_place_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        reserve(memory_bytes=-1, limit_s=1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 4000,
        b'{"ticket": 1}',
        b'{"ticket": 1, "process": 2, "memory_bytes": -3, "processors": 1, "held": true}',
        b'{"ticket": 1, "process": 2, "memory_bytes": "3", "processors": 1, "held": true}',
        b"\xff\xfe\x00",
    ],
)
def test_a_file_that_none_of_us_wrote_is_no_place(text: bytes) -> None:
    assert places._parse(text) is None


def test_a_place_is_held_and_given_back(tmp_path: Path) -> None:
    folder = tmp_path / "places"
    with reserve(memory_bytes=MIB, limit_s=1, folder=folder):
        assert len(list(folder.iterdir())) == 1
        assert folder.stat().st_mode & 0o777 == 0o700
        with reserve(memory_bytes=MIB, limit_s=1, processors=0, folder=folder):
            assert len(list(folder.iterdir())) == 2
    assert list(folder.iterdir()) == []


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "places"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(HostError, match="with mode 0777, and must be of user"):
        reserve(memory_bytes=MIB, limit_s=1, folder=folder).__enter__()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "places"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(HostError, match="it is of user 65534"):
        reserve(memory_bytes=MIB, limit_s=1, folder=folder).__enter__()


def test_a_link_or_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(own)
    file = tmp_path / "file"
    file.touch()
    for folder in (link, file, tmp_path / "not" / "there"):
        with pytest.raises((HostError, FileNotFoundError)):
            reserve(memory_bytes=MIB, limit_s=1, folder=folder).__enter__()
    assert list(own.iterdir()) == []


def test_garbage_in_the_folder_is_left_alone_or_swept(tmp_path: Path) -> None:
    folder = tmp_path / "places"
    folder.mkdir(mode=0o700)
    (folder / "notes").touch()
    (folder / "000000000001-00000000").write_bytes(b"garbage")
    (folder / "000000000002-00000000").mkdir()
    os.mkfifo(folder / "000000000003-00000000")
    (folder / "000000000004-00000000").symlink_to("/etc/passwd")
    with reserve(memory_bytes=MIB, limit_s=1, folder=folder):
        names = {path.name[:12] for path in folder.iterdir()}
    assert names == {"notes", "000000000001", "000000000002", "000000000004"}
