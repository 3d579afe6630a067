"""Machines for tests: clones of a frozen one, apart from each other, through all that happens."""

import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.testing.failure import HarnessError, ImageFailure
from imgforge.testing.frozen import (
    FrozenFacts,
    file_digest,
    frozen_folder,
    load_frozen,
    write_facts,
)
from imgforge.testing.image import ImageWish
from imgforge.testing.machine import Machine
from imgforge.testing.marks import Mark
from imgforge.testing.replay import Point, read_kept
from imgforge.testing.session import Lent, SessionWish, TestSession
from tests.boot.command_line import Room
from tests.boot.conftest import Workshop

pytestmark = pytest.mark.boot

_FETCH = (
    "printf 'GET /latest/meta-data/{} HTTP/1.0\\r\\n\\r\\n' | nc 169.254.169.254 80 | tail -n 1"
)
_SMALL = Mark("instance_type", ("t2.nano",))


@pytest.fixture
def session(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestSession]:
    """A session on the workshop's disk; all workers of this run share its frozen machine."""
    monkeypatch.setenv("IMGFORGE_CACHE", str(workshop.cache))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(room.runtime))
    with begin(workshop.disk, room) as begun:
        yield begun


@contextmanager
def begin(disk: Path, room: Room) -> Iterator[TestSession]:
    wish = SessionWish(ImageWish(str(disk), room.out), room.folder / "evidence")
    with TestSession(wish) as begun:
        yield begun


@contextmanager
def lent(session: TestSession, *marks: Mark) -> Iterator[Lent]:
    session.wish.evidence.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=session.wish.evidence))
    plan = session.plan([_SMALL, *marks])
    with session.machine(plan, test="a test", folder=folder) as found:
        yield found


@contextmanager
def machine(session: TestSession, *marks: Mark) -> Iterator[Machine]:
    with lent(session, *marks) as found:
        yield found.machine


def test_clones_share_their_first_boot_and_nothing_else(session: TestSession) -> None:
    with machine(session) as one, machine(session) as two:
        one.succeed("echo one >/root/mark; echo one >/run/mark; sync")
        two.fail("ls /root/mark /run/mark")
        assert one.ssh.port != two.ssh.port
        draws = {
            clone.succeed("head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/uuid")
            for clone in (one, two, one)
        }
        assert len(draws) == 3
        for clone in (one, two):
            assert clone.ssh.succeed("id -un") == "root\n"
            assert abs(int(clone.succeed("date +%s")) - time.time()) < 30
            clone.wait_for_port(22)
            assert any("imgforge-init: ready" in line for line in clone.console.lines)
        asked = len(two.metadata.requests)
        assert one.succeed(_FETCH.format("instance-id")).strip() == one.instance_id
        assert one.metadata.fetched("instance-id")
        assert len(two.metadata.requests) == asked
        assert one.instance_id == two.instance_id
        assert not one.notes
    with machine(session) as three:
        three.fail("ls /root/mark")


def test_a_disk_that_was_moved_is_forked_all_the_same(
    session: TestSession, workshop: Workshop, room: Room
) -> None:
    with machine(session) as clone:
        frozen_by = clone.instance_id
    moved = room.folder / "moved"
    moved.mkdir()
    for name in ("minimal-pv.raw", "minimal-pv.disk.json"):
        shutil.copy(workshop.disk.with_name(name), moved)
    with begin(moved / "minimal-pv.raw", room) as other, machine(other) as clone:
        assert clone.instance_id == frozen_by
        assert not clone.notes
        clone.succeed("find / -xdev -type f -exec cat {} + >/dev/null")


def test_a_clone_may_have_an_instance_id_of_its_own(session: TestSession) -> None:
    with machine(session) as one, machine(session, Mark("new_instance")) as two:
        assert one.instance_id != two.instance_id
        assert two.succeed(_FETCH.format("instance-id")).strip() == two.instance_id


def test_an_instance_keeps_its_disk_through_reboot_stop_start_and_crash(
    session: TestSession,
) -> None:
    with machine(session) as clone:
        clone.succeed("echo kept >/root/mark; sync; echo gone >/run/mark")
        clone.attach_volume(1)
        clone.wait_until_succeeds("grep -q vdb /proc/partitions")
        clone.reboot()
        assert clone.succeed("cat /root/mark") == "kept\n"
        clone.fail("ls /run/mark")
        clone.stop()
        with pytest.raises(HarnessError, match="start it first"):
            clone.succeed("true")
        clone.start()
        assert clone.succeed("cat /root/mark; grep -c vdb /proc/partitions") == "kept\n1\n"
        clone.crash()
        clone.start()
        assert clone.succeed("cat /root/mark") == "kept\n"
        assert clone.boot_seconds


def test_a_machine_is_what_its_marks_say(session: TestSession) -> None:
    marks = [
        Mark("instance_type", ("m3.medium",)),
        Mark("volumes", (1,)),
        Mark("root_volume", (2,)),
        Mark("metadata_options", (), {"http_tokens": "required"}),
        Mark("user_data", ("hello",)),
        Mark("power_on"),
    ]
    with machine(session, *marks) as cold:
        cold.console.wait_for("imgforge-init: network")
        request = cold.metadata.wait_for_request("openssh-key")
        assert request.status == 401
        assert not cold.metadata.fetched("public-keys/0/openssh-key")
        rows = [line.split() for line in cold.succeed("grep 'vd.$' /proc/partitions").splitlines()]
        sizes_gib = {name: int(blocks) >> 20 for _, _, blocks, name in rows}
        assert sizes_gib == {"vda": 2, "vdb": 4, "vdc": 1}
        picture = cold.screenshot("now")
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_metadata_service_misbehaves_as_told(session: TestSession) -> None:
    key = "/meta-data/public-keys"
    marks = (
        Mark("faults", (key,), {"cut": "refused", "times": 1}),
        Mark("faults", (key,), {"status": 503, "times": 2}),
    )
    with machine(session, *marks) as cold:  # survived: SSH has the key
        asked = cold.metadata.asked("public-keys/0/openssh-key")
        assert [(r.status, r.cut) for r in asked][:4] == [
            (0, "refused"),
            (503, ""),
            (503, ""),
            (200, ""),
        ]
        assert cold.ssh.succeed("id -un") == "root\n"
        cold.metadata.add_fault("/meta-data/ami-id", status=404)
        assert "404" in cold.succeed(_FETCH.format("ami-id").replace("tail -n 1", "head -n 1"))
        cold.metadata.clear_faults()
        assert cold.image_id in cold.succeed(_FETCH.format("ami-id"))


def test_a_guest_sees_what_happens_to_its_instance(session: TestSession) -> None:
    with machine(session) as clone:
        spot = _FETCH.format("spot/instance-action")
        assert "404" in clone.succeed(spot.replace("tail -n 1", "head -n 1"))
        notice = clone.metadata.interrupt_spot("stop")
        assert json.loads(clone.succeed(spot)) == {"action": "stop", "time": notice.time}
        clone.metadata.set_tags(Name="web")
        assert clone.succeed(_FETCH.format("tags/instance/Name")) == "web"
        clone.metadata.rotate_keys(other="ssh-ed25519 AAAA other")
        assert clone.succeed(_FETCH.format("public-keys/")) == "0=other"
        clone.reboot()
        assert clone.succeed(_FETCH.format("tags/instance/Name")) == "web"
        clone.metadata.withdraw_spot_interruption()
        assert "404" in clone.succeed(spot.replace("tail -n 1", "head -n 1"))


def test_what_the_image_gets_wrong_fails_with_what_it_said(session: TestSession) -> None:
    with machine(session) as clone:
        with pytest.raises(ImageFailure, match=r"must succeed, ended with 3[^|]*\| out\n  \| err"):
            clone.succeed("echo out; echo err >&2; exit 3")
        with pytest.raises(ImageFailure, match="must fail"):
            clone.fail("true")
        with pytest.raises(ImageFailure, match="did not end within 1 s"):
            clone.succeed("sleep 60", timeout_s=1)
        with pytest.raises(ImageFailure, match="no line matches 'never seen'"):
            clone.console.wait_for("never seen", timeout_s=0.5)
        with pytest.raises(ImageFailure, match="not within 1 s"):
            clone.wait_for_port(81, timeout_s=1)
        with pytest.raises(ImageFailure, match="not within 1 s"):
            clone.wait_until_succeeds("false", timeout_s=1)
        assert clone.succeed("echo still here") == "still here\n"
        with pytest.raises(ImageFailure, match="guest-reset"):
            clone.succeed("echo c >/proc/sysrq-trigger; sleep 20", timeout_s=30)


def test_a_failed_machine_is_kept_and_goes_on_where_it_was(
    session: TestSession, room: Room
) -> None:
    with lent(session) as failed:
        failed.machine.succeed("echo here >/run/mark; echo there >/root/mark")
        failed.keep()
        folder = failed.machine.evidence
    assert read_kept(folder).point is Point.FAILURE
    for _ in range(2):  # the first replay changes nothing for the second
        ended = room.run("replay", folder, "cat /run/mark /root/mark; rm /run/mark; exit 7")
        assert (ended.exit_code, ended.stdout) == (7, "here\nthere\n"), ended.stderr
    with room.start("replay", folder) as running:
        assert running.printed("goes on where it failed")
        ended = running.interrupt(signal.SIGINT)
    assert ended.exit_code == 130
    assert "goes on where it failed" in ended.stdout
    assert re.search(r"^ssh .* root@127\.0\.0\.1$", ended.stdout, re.MULTILINE)
    room.assert_no_process_is_left()


def test_a_machine_that_had_ended_is_replayed_from_its_beginning(
    session: TestSession, room: Room
) -> None:
    with lent(session) as failed:
        failed.machine.stop()
        failed.keep()
        folder = failed.machine.evidence
    assert read_kept(folder).point is Point.START
    ended = room.run("replay", folder, "ls /root/.ssh")
    assert (ended.exit_code, ended.stdout) == (0, "authorized_keys\n"), ended.stderr


def own_cache(room: Room, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = workshop.link_cache(room.folder / "cache")
    monkeypatch.setenv("IMGFORGE_CACHE", str(cache))


def test_a_damaged_frozen_machine_is_refused_told_and_made_again(
    session: TestSession,
    workshop: Workshop,
    room: Room,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own_cache(room, workshop, monkeypatch)
    with machine(session) as clone:
        assert clone.succeed("echo first") == "first\n"
    folder = frozen_folder(session.plan([_SMALL]))
    memory = folder / "memory"
    with memory.open("r+b") as file:
        file.truncate(memory.stat().st_size // 2)
    with begin(workshop.disk, room) as again, machine(again) as clone:
        assert clone.succeed("echo second") == "second\n"
    assert "its file memory is damaged; booting cold" in caplog.text
    assert load_frozen(session.plan([_SMALL])) is not None
    assert [path.name for path in folder.parent.glob("*") if path.name != "locks"] == [folder.name]


def test_a_frozen_machine_that_qemu_refuses_is_booted_cold_and_says_so(
    session: TestSession, workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(room, workshop, monkeypatch)
    with machine(session):
        pass
    folder = frozen_folder(session.plan([_SMALL]))
    facts = FrozenFacts.model_validate_json((folder / "frozen.json").read_bytes())
    state = bytearray((folder / "state").read_bytes())
    state[len(state) // 3 : len(state) // 3 + 4096] = bytes(4096)
    (folder / "state").write_bytes(state)
    sealed = facts.model_copy(
        update={"files": {**facts.files, "state": file_digest(folder / "state")}}
    )
    write_facts(folder, sealed)
    with begin(workshop.disk, room) as again, machine(again) as clone:
        assert clone.succeed("echo here") == "here\n"
        assert clone.notes == ("booted cold: its frozen machine does not go on",)
    with begin(workshop.disk, room) as later, machine(later) as clone:
        assert clone.notes == ()


def our_qemu() -> int:
    """Return the process id of a QEMU that this process started."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        if f"PPid:\t{os.getpid()}\n" in text and text.startswith("Name:\tqemu-system"):
            return int(status.parent.name)
    return 0


@contextmanager
def killer(*, after_s: float) -> Iterator[None]:
    """Kill our QEMU from outside, so many seconds after it is there."""

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not (process := our_qemu()) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(after_s)
        if process:  # 0 would be ourselves
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    killed: list[int] = []
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        assert killed


@pytest.mark.parametrize("after_s", [0.0, 0.05, 1.5])
def test_a_qemu_that_is_killed_while_it_boots_is_the_hosts_failure(
    session: TestSession,
    workshop: Workshop,
    room: Room,
    monkeypatch: pytest.MonkeyPatch,
    after_s: float,
) -> None:
    own_cache(room, workshop, monkeypatch)
    with killer(after_s=after_s), pytest.raises(HarnessError), machine(session):
        pass
    left = [path.name for path in (room.folder / "cache/frozen").iterdir()]
    assert left == ["locks"]


def test_a_qemu_that_is_killed_under_a_test_is_the_hosts_failure(session: TestSession) -> None:
    with lent(session) as found:
        with killer(after_s=0.5), pytest.raises(HarnessError, match="qemu-died"):
            found.machine.succeed("sleep 30")
        with pytest.raises(HarnessError, match="qemu-died"):
            found.machine.console.wait_for("never", timeout_s=5)


def test_a_qemu_that_is_killed_while_it_is_kept_leaves_nothing_half_kept(
    session: TestSession,
) -> None:
    with lent(session) as found:
        process = found.live.witness.machine.pid
        os.kill(process, signal.SIGSTOP)
        timer = threading.Timer(1.0, lambda: os.kill(process, signal.SIGKILL))
        timer.start()
        with pytest.raises(HostError):
            found.keep()
        timer.join()
        assert not (found.machine.evidence / "replay").exists()


def test_an_image_without_our_agent_is_reached_by_ssh(
    session: TestSession, workshop: Workshop, room: Room
) -> None:
    agent = f'"{Path(__file__).parents[2]}/guest/overlays/agent", '
    recipe = workshop.write_recipe(room.folder, changes={agent: ""})
    built = room.run("build", recipe, "--locked", "--layout", "pv", "--out", room.out)
    assert built.exit_code == 0, built.stderr
    with begin(room.out / "minimal-pv.raw", room) as other, machine(other) as clone:
        assert clone.succeed("id -un") == "root\n"
        clone.fail("exit 3")
        clone.reboot()
        clone.succeed("true")


def test_a_broken_network_is_a_finding_of_the_test_not_silence(
    session: TestSession, workshop: Workshop, room: Room
) -> None:
    recipe = workshop.write_recipe(
        room.folder, wrong="no-metadata", expect="silence_limit_s = 12\n"
    )
    built = room.run("build", recipe, "--locked", "--layout", "pv", "--out", room.out)
    assert built.exit_code == 0, built.stderr
    with begin(room.out / "minimal-pv.raw", room) as other, machine(other) as clone:
        assert clone.succeed("echo reached") == "reached\n"
        assert any("never asked the metadata service" in note for note in clone.notes)
        assert not clone.metadata.fetched("public-keys/0/openssh-key")
        with pytest.raises(ImageFailure, match="Permission denied"):
            clone.ssh.succeed("true")


def test_two_sessions_at_once_freeze_once(
    workshop: Workshop, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache(room, workshop, monkeypatch)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(room.runtime))
    frozen: set[Path] = set()
    with ExitStack() as stack:
        sessions = [stack.enter_context(begin(workshop.disk, room)) for _ in range(2)]
        said: list[str] = []

        def use(session: TestSession) -> None:
            with machine(session) as clone:
                clone.succeed("true")
                said.append(clone.instance_id)
                frozen.add(frozen_folder(session.plan([_SMALL])))

        threads = [threading.Thread(target=use, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 2
    assert said[0] == said[1]
    assert len(frozen) == 1
