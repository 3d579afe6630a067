"""What a killed process leaves: nothing that looks finished, and nothing for long."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imgforge.files import appearing, lock_within, scratch_folder, tidy

MAKE = """
    import sys, time
    from pathlib import Path
    from imgforge.files import appearing
    with appearing(Path(sys.argv[1])) as new:
        new.mkdir()
        (new / "half").write_bytes(b"x" * 100_000)
        print("made", flush=True)
        time.sleep(60)
"""
LOCK = """
    import sys, time
    from pathlib import Path
    from imgforge.files import locked_folder
    with locked_folder(Path(sys.argv[1])):
        print("locked", flush=True)
        time.sleep(60)
"""
# Moves a set of files into a folder that has an older one, and is killed at the event $2 of those
# that Python tells of file operations in that folder (PEP 578).
MOVE = """
    import itertools, os, signal, sys
    from pathlib import Path
    from imgforge.files import move_together, scratch_folder, tidy
    place, last_event = Path(sys.argv[1]), int(sys.argv[2])
    events = itertools.count(1)
    def meet(_event, arguments):
        if any(isinstance(one, (str, Path)) and str(place) in str(one) for one in arguments):
            if next(events) == last_event:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(meet)
    tidy(place)
    with scratch_folder(place) as aside:
        new = aside / "new"
        new.mkdir()
        for name in ("part.0", "part.1", "manifest"):
            (new / name).write_text("new")
        move_together(new, place, replaced=["part.0", "part.2", "manifest"], last="manifest")
"""
OLD = dict.fromkeys(("part.0", "part.2", "manifest", "other"), "old")
NEW = {**dict.fromkeys(("part.0", "part.1", "manifest"), "new"), "other": "old"}


def start(script: str, path: Path) -> subprocess.Popen[str]:
    """Start a script and wait for its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_appears_and_the_next_run_sweeps(tmp_path: Path, way: signal.Signals) -> None:
    process = start(MAKE, tmp_path / "tree")
    process.send_signal(way)
    process.communicate(timeout=10)
    assert not (tmp_path / "tree").exists()
    with appearing(tmp_path / "other") as new:
        new.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_another_process_is_making_is_not_swept(tmp_path: Path) -> None:
    process = start(MAKE, tmp_path / "tree")
    try:
        with appearing(tmp_path / "other") as new:
            new.touch()
        assert len(list(tmp_path.glob(".imgforge-aside-*/new/half"))) == 1
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_a_kill_frees_the_lock(tmp_path: Path) -> None:
    process = start(LOCK, tmp_path)
    process.kill()
    process.communicate(timeout=10)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert lock_within(descriptor, fcntl.LOCK_EX, limit_s=10)
    finally:
        os.close(descriptor)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_a_set_of_files_is_whole_or_the_older_one_is_after_a_kill_at_any_step(
    tmp_path: Path,
) -> None:
    """A second run is killed while it undoes what the first one left."""
    seen = []
    for event in itertools.count(1):
        place = tmp_path / str(event)
        place.mkdir()
        for name, content in OLD.items():
            (place / name).write_text(content)
        for again in (event, 7 + event % 5, 10**6):
            words = [sys.executable, "-c", textwrap.dedent(MOVE), str(place), str(again)]
            ended = subprocess.run(words, check=False).returncode
            there = contents(place)
            assert "manifest" not in there or there in (OLD, NEW), event
            if again == event:
                seen.append(there)
                done = ended == 0
            elif event % 2:  # the sweep of any other command, and no second run
                tidy(place)
                assert contents(place) in (OLD, NEW)
                break
        else:
            assert contents(place) == NEW
        assert [path.name for path in place.iterdir() if path.is_dir()] == []
        if done:
            break
    assert len(seen) > 20
    assert OLD in seen
    assert NEW in seen


def test_another_users_plan_of_a_move_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    aside = tmp_path / ".imgforge-aside-theirs"
    (aside / "new").mkdir(parents=True)
    (aside / "moved-away").mkdir()
    (aside / "new" / "last").touch()
    (aside / "moving").write_text('{"new": "new", "names": ["precious", "last"]}')
    aside.chmod(0o777)  # as only another's would be
    with scratch_folder(tmp_path):
        pass
    assert contents(tmp_path) == {"precious": "mine"}
    assert not aside.exists()
