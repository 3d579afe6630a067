"""Commands about images are killed at random moments; run again, they make nothing twice."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.made_tags import UNFINISHED
from tests.ami_desk import HOME, AmiDesk, credentials, new_account
from tests.serving import OTHER_ACCOUNT, Serving

WEST, CENTRAL = "eu-west-1", "eu-central-1"
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("killed") / "catalog", "--latency", "400ms") as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> AmiDesk:
    account = new_account()
    for name, value in credentials(tmp_path / "data", account).items():
        monkeypatch.setenv(name, value)
    return AmiDesk(serving, account)


def killed(desk: AmiDesk, arguments: tuple[str, ...], *, after_requests: int) -> bool:
    """Start a command and kill it when its last line of progress is so far; tell whether it was.

    The moment is one of the command's own: as many lines of its progress as are asked for, and a
    little more at random.
    """
    running = desk.started(*arguments, environment={})
    assert running.stderr is not None
    for _ in range(after_requests):
        if not running.stderr.readline():
            break
    time.sleep(random.uniform(0, 0.5))
    was_running = running.poll() is None
    running.kill()
    running.communicate(timeout=LIMIT_S)
    return was_running


@pytest.mark.parametrize(
    "lines", [1, 2, 4, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 5, 6, 7, 8, 9, 10))]
)
def test_a_publication_that_is_killed_is_finished_by_the_next_run(
    desk: AmiDesk, lines: int
) -> None:
    image_id = desk.image()
    words = ("publish", image_id, "--to", f"{WEST},{CENTRAL}", "--account", OTHER_ACCOUNT)
    killed(desk, words, after_requests=lines)
    done = desk.good(*words)
    assert desk.state((HOME, WEST, CENTRAL)) == (3, 3)
    for one in done["images"]:
        shown = desk.good("images", one["image_id"], "--region", one["region"])
        assert shown["State"] == "available"
        assert shown["LaunchPermissions"] == [{"UserId": OTHER_ACCOUNT}]
        marked = [shown, *shown["Snapshots"]]
        assert UNFINISHED not in {tag["Key"] for has in marked for tag in has["Tags"]}


@pytest.mark.parametrize(
    "lines", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4, 5))]
)
def test_a_copy_that_is_killed_is_finished_by_the_next_run(desk: AmiDesk, lines: int) -> None:
    image_id = desk.image()
    words = ("images", "copy", image_id, "--to", f"{WEST},{CENTRAL}", "--wait")
    killed(desk, words, after_requests=lines)
    desk.good(*words)
    assert desk.state((WEST, CENTRAL)) == (2, 2)


@pytest.mark.parametrize(
    "lines", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 3))]
)
def test_a_deregistration_that_is_killed_is_finished_by_the_next_run(
    desk: AmiDesk, lines: int
) -> None:
    image_id = desk.image()
    words = ("images", "deregister", image_id, "--with-snapshots")
    killed(desk, words, after_requests=lines)
    again = desk.run(*words)
    assert again.code == 0 or "InvalidAMIID.NotFound" in again.err  # it was done already
    assert desk.state((HOME,)) == (0, 0)


def test_what_a_kill_left_is_found_by_gc(desk: AmiDesk) -> None:
    image_id = desk.image()
    words = ("publish", image_id, "--to", WEST)
    killed(desk, words, after_requests=2)
    left = [one for one in desk.images(WEST) if UNFINISHED in {t["Key"] for t in one["Tags"]}]
    found = desk.good("images", "gc", "--dry-run", "--older-than", "0s", "--region", WEST)
    assert len(left) == sum(one["kind"] == "image" for one in found["leftovers"])
    desk.good("images", "gc", "--yes", "--older-than", "0s", "--region", WEST)
    assert not [one for one in desk.images(WEST) if one in left]


def test_an_interruption_takes_back_what_was_made(desk: AmiDesk) -> None:
    image_id = desk.image()
    running = desk.started("publish", image_id, "--to", f"{WEST},{CENTRAL}", environment={})
    assert running.stderr is not None
    for _ in range(2):
        running.stderr.readline()
    running.terminate()
    _, said = running.communicate(timeout=LIMIT_S)
    if running.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert running.returncode == 130, said
    assert desk.state((WEST, CENTRAL)) == (0, 0)
