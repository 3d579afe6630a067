"""Files and folders that appear whole or not at all."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.files import (
    appearing,
    lock_within,
    locked_folder,
    read_small,
    scratch_folder,
    tidy,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    with appearing(tmp_path / "deep" / "disk.raw") as new:
        new.write_bytes(b"whole")
        assert "disk.raw" not in names(tmp_path / "deep")
    assert names(tmp_path / "deep") == ["disk.raw"]
    assert (tmp_path / "deep" / "disk.raw").read_bytes() == b"whole"


def test_a_file_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(b"old")
    with appearing(tmp_path / "disk.raw") as new:
        new.write_bytes(b"new")
        assert (tmp_path / "disk.raw").read_bytes() == b"old"
    assert (tmp_path / "disk.raw").read_bytes() == b"new"


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with appearing(tmp_path / "tree") as new:
        (new / "a" / "b").mkdir(parents=True)
        (new / "a" / "b" / "file").write_bytes(b"x")
    assert (tmp_path / "tree" / "a" / "b" / "file").read_bytes() == b"x"
    assert names(tmp_path) == ["tree"]


def test_a_folder_that_stands_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "first").touch()
    with appearing(tmp_path / "tree") as new:
        new.mkdir()
        (new / "second").touch()
    assert names(tmp_path / "tree") == ["first"]
    assert names(tmp_path) == ["tree"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_after_an_error_nothing_appears_and_nothing_is_left(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "disk.raw").write_bytes(b"old")
    with pytest.raises(error), appearing(tmp_path / "disk.raw") as new:  # noqa: PT012
        new.write_bytes(b"half")
        raise error
    assert names(tmp_path) == ["disk.raw"]
    assert (tmp_path / "disk.raw").read_bytes() == b"old"


def test_what_was_never_made_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), appearing(tmp_path / "disk.raw"):
        pass
    assert names(tmp_path) == []


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").mkdir()
    with pytest.raises(IsADirectoryError), appearing(tmp_path / "disk.raw") as new:
        new.write_bytes(b"x")
    assert names(tmp_path) == ["disk.raw"]


def test_two_at_once_do_not_sweep_each_other(tmp_path: Path) -> None:
    with appearing(tmp_path / "one") as one, appearing(tmp_path / "other") as other:
        with appearing(tmp_path / "third") as third:
            third.touch()
        one.touch()
        other.touch()
    assert names(tmp_path) == ["one", "other", "third"]


def test_twenty_threads_that_make_the_same_folder_leave_one_whole(tmp_path: Path) -> None:
    problems: list[BaseException] = []

    def make(number: int) -> None:
        try:
            with appearing(tmp_path / "tree") as new:
                new.mkdir()
                for name in ("a", "b"):
                    (new / name).write_text(str(number))
        except OSError as error:
            problems.append(error)

    threads = [threading.Thread(target=make, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not problems
    assert names(tmp_path) == ["tree"]
    assert (tmp_path / "tree" / "a").read_text() == (tmp_path / "tree" / "b").read_text()


def test_a_scratch_folder_goes_away(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "x").touch()
        assert folder.stat().st_mode & 0o077 == 0
    assert names(tmp_path) == []


def test_a_link_that_looks_like_a_leftover_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    work = tmp_path / "work"
    work.mkdir()
    (work / ".imgforge-aside-link").symlink_to(precious)
    with scratch_folder(work):
        pass
    assert names(precious) == ["file"]


def test_a_locked_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    entered = threading.Event()

    def wait_for_it() -> None:
        with locked_folder(tmp_path):
            entered.set()

    thread = threading.Thread(target=wait_for_it)
    with locked_folder(tmp_path):
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    thread.join(10)


def test_tidying_removes_what_a_killed_run_left_and_nothing_that_is_being_made(
    tmp_path: Path,
) -> None:
    (tmp_path / ".imgforge-aside-killed" / "new").mkdir(parents=True)
    (tmp_path / "tree").mkdir()
    with scratch_folder(tmp_path) as alive:
        (tmp_path / ".imgforge-aside-later").mkdir()
        tidy(tmp_path)
        assert names(tmp_path) == [alive.name, "tree"]
    tidy(tmp_path / "not there")
    assert names(tmp_path) == ["tree"]


def test_a_lock_that_another_has_is_not_had_in_time(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with locked_folder(tmp_path):
            assert not lock_within(descriptor, fcntl.LOCK_EX, limit_s=0)
            assert not lock_within(descriptor, fcntl.LOCK_SH, limit_s=0.02)
        assert lock_within(descriptor, fcntl.LOCK_EX, limit_s=0)
    finally:
        os.close(descriptor)


def test_a_symbolic_link_is_followed_also_one_that_leads_nowhere_yet(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    link = tmp_path / "link"
    link.symlink_to("sub/target")
    for content in ("first", "second"):
        with appearing(link) as new:
            new.write_text(content)
        assert link.is_symlink()
        assert (tmp_path / "sub/target").read_text() == content


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for place in (fifo, Path("/dev/null")):
        with pytest.raises(BadInputError, match="not a file"), appearing(place):
            pass
    assert fifo.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_a_small_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"0123456789")
    assert read_small("Key", tmp_path / "key", most_bytes=4) == b"0123"
    assert read_small("Key", tmp_path / "key", most_bytes=99) == b"0123456789"
    for path, told in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(BadInputError, match=f"cannot be read: {told}"):
            read_small("Key", path, most_bytes=4)


def test_a_fifo_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    with pytest.raises(BadInputError, match=r"Key .*key: nothing came out of it within 0\.05"):
        read_small("Key", tmp_path / "key", most_bytes=4, silence_s=0.05)


def test_what_a_shell_gives_as_a_fifo_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    writer = threading.Thread(target=(tmp_path / "key").write_bytes, args=(b"x" * 300_000,))
    writer.start()
    assert read_small("Key", tmp_path / "key", most_bytes=400_000) == b"x" * 300_000
    writer.join(30)
