"""How a failed test is told: its own lines, the words of the failure, and no frame of ours."""

import asyncio
import concurrent.futures
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.testing.failure import HarnessError, ImageFailure
from imgforge.testing.loop_thread import LoopThread
from imgforge.testing.told import (
    Failure,
    FailureKind,
    Spot,
    Told,
    describe,
    hide_our_frames,
    kind_of,
    reason_of,
    said_of,
    seen_from,
    shortened,
)

COMMAND = "ls /x: must succeed, ended with 1.\n  | before\n  | ls: /x: No such file"


def raised(act: Callable[[], object]) -> Exception:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


async def fail_in_the_loop(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


def test_what_failed_is_known_by_the_exception() -> None:
    assert kind_of(ImageFailure("x")) is FailureKind.IMAGE
    assert kind_of(HarnessError("x")) is FailureKind.HARNESS
    assert kind_of(HostError("x")) is FailureKind.HARNESS
    assert kind_of(AssertionError("x")) is FailureKind.TEST


def test_only_the_tests_own_lines_are_told() -> None:
    with LoopThread() as loop:
        error = raised(lambda: loop.call(fail_in_the_loop(ImageFailure(COMMAND))))
    failure = describe(error)
    assert failure.text == COMMAND
    assert {Path(spot.path) for spot in failure.spots} == {Path(__file__)}
    assert "fail_in_the_loop" in [spot.function for spot in failure.spots]


def test_our_frames_are_hidden_in_causes_too() -> None:
    def wrong() -> None:
        with LoopThread() as loop:
            try:
                loop.call(fail_in_the_loop(ValueError("cause")))
            except ValueError as error:
                raise RuntimeError("told") from error

    error = raised(wrong)
    hide_our_frames(error)
    assert isinstance(error.__cause__, ValueError)
    for part in (error, error.__cause__):
        files = {Path(frame.filename) for frame in traceback.extract_tb(part.__traceback__)}
        assert files == {Path(__file__)}


def test_what_has_no_frame_of_a_test_keeps_its_own() -> None:
    error = raised(lambda: concurrent.futures.Future[None]().result(timeout=0))
    trace = error.__traceback__
    assert trace is not None
    error.__traceback__ = trace.tb_next.tb_next if trace.tb_next else None
    assert error.__traceback__ is not None
    hide_our_frames(error)
    assert error.__traceback__ is not None


def test_a_ring_of_causes_ends() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__context__, second.__context__ = second, first
    hide_our_frames(first)


def test_the_hint_of_an_error_is_told_once() -> None:
    assert describe(HarnessError("No QEMU.", hint="Install it.")).text == "No QEMU.\nInstall it."
    assert describe(HarnessError("No. Do it.", hint="Do it.")).text == "No. Do it."


def test_a_failure_goes_through_plain_values() -> None:
    failure = Failure(FailureKind.HARNESS, "x", (Spot("a.py", 3, "test_a", "run()"),))
    assert Failure.from_wire(failure.to_wire()) == failure


def test_a_failure_is_shown_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    spot = Spot(str(tmp_path / "test_a.py"), 3, "test_a", "machine.succeed('x')")
    told = Told(Failure(FailureKind.IMAGE, "x\x1b[2J: no\n  | y", (spot,)), root=tmp_path)
    assert str(told).splitlines() == [
        "test_a.py:3: in test_a",
        "    machine.succeed('x')",
        "E   x^[[2J: no",
        "E     | y",
    ]
    assert str(told.reprcrash) == "test_a.py:3: x^[[2J: no"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (COMMAND, ["ls /x: must succeed, ended with 1."]),
        (
            "The console around it:\n  | a\n  > b\nRejected at stage init:\n bad\nSign s. Do\nit.",
            ["Rejected at stage init: bad", "Sign s. Do it."],
        ),
        (
            "The console showed nothing.\ndoes not hold: key: no\nRejected: key does not hold: no",
            ["Rejected: key does not hold: no", "does not hold: key: no"],
        ),
        ("Unit x failed:\nstate: dead", ["Unit x failed:", "state: dead"]),
        (
            "    def test_a():\n>       assert 1 == 2\nE       assert 1 == 2\n\nt.py:3: E",
            ["assert 1 == 2"],
        ),
        ("  | only\n  | said", []),
        ("", []),
    ],
)
def test_the_reason_is_found_in_a_failures_text(text: str, reason: list[str]) -> None:
    assert reason_of(text) == reason


def test_what_a_command_said_is_found() -> None:
    assert said_of(COMMAND) == ["before", "ls: /x: No such file"]


def test_a_long_text_is_short_the_second_time() -> None:
    text = "Rejected at stage init: x\n" + "\n".join("  | line" for _ in range(9))
    assert shortened(text, told_for="t::a") == "Rejected at stage init: x\n(In full at t::a.)"
    assert shortened(COMMAND, told_for="t::a") == COMMAND


def test_a_text_of_any_length_ends() -> None:
    text = "\n".join(["  | " + "x" * 1000] * 5000 + ["Sign a."] * 5000)
    assert len(reason_of(text)) == 5000
    assert re.fullmatch(
        r"[^\n]+", Told(Failure(FailureKind.TEST, text), root=Path()).reprcrash.message
    )


def test_a_test_is_named_as_it_is_given_to_pytest_where_the_user_stands(tmp_path: Path) -> None:
    (tmp_path / "image/tests").mkdir(parents=True)
    (tmp_path / "image/tests/test_a.py").touch()
    name = "image/tests/test_a.py::Class::test_b[x/y::z]"
    for folder, seen in (
        (tmp_path, "image/tests"),
        (tmp_path / "image", "tests"),
        (tmp_path / "image/tests", "."),
        (tmp_path / "elsewhere", "../image/tests"),
    ):
        told = seen_from(name, root=tmp_path, folder=folder)
        assert told == f"{seen}/test_a.py::Class::test_b[x/y::z]".removeprefix("./")
    for strange in ("gone.py::test_a", "::test_a", ""):
        assert seen_from(strange, root=tmp_path, folder=tmp_path / "image") == strange
