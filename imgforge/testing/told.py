"""How a failed test is told: the test's own lines and the failure's words, no frame of ours."""

import asyncio
import concurrent
import contextlib
import os
import re
import shlex
import textwrap
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import _pytest
import pluggy

from imgforge.errors import ImgforgeError
from imgforge.report import visible
from imgforge.testing.failure import ImageFailure

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = (asyncio.__file__, f"{concurrent.__path__[0]}/futures", _pytest.__file__)
_HIDDEN_FOLDERS = (
    f"{_PACKAGE}/",
    *(f"{Path(place).parent}/" for place in (*_LIBRARIES, pluggy.__file__)),
)
_HIDDEN_FILES = {contextlib.__file__, threading.__file__}
_SUITE = f"{_PACKAGE}/testing/suite/"  # tests like those of a user
_CONSOLE_LINE = re.compile(r"  [|>] ")
_ASSERTED = re.compile(r"E {3}\s*\S")
_CONSOLE_HEADS = {"The console around it:", "The console showed nothing."}
_LONG_LINES = 5
# A verb that was called with what it does not take; regular expressions are the test's, too.
_OF_A_TEST = (AssertionError, TypeError, ValueError, re.error)


class FailureKind(StrEnum):
    """What failed: the image, or the harness that tests it; or a test, in its own words."""

    IMAGE = "image"
    HARNESS = "harness"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Spot:
    """A line of a test: its file, number, function and text."""

    path: str
    line: int
    function: str
    source: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a test failed: what kind, the full text, and the lines of tests that led there."""

    kind: FailureKind
    text: str
    spots: tuple[Spot, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return it in plain values, as pytest-xdist carries them between processes."""
        spots = [[spot.path, spot.line, spot.function, spot.source] for spot in self.spots]
        return {"kind": self.kind.value, "text": self.text, "spots": spots}

    @classmethod
    def from_wire(cls, values: dict[str, Any]) -> "Failure":
        """Return what `to_wire` was given."""
        spots = tuple(Spot(*spot) for spot in values["spots"])
        return cls(FailureKind(values["kind"]), values["text"], spots)


def kind_of(error: BaseException) -> FailureKind:
    """Return what an exception that ended a test says failed."""
    if isinstance(error, ImageFailure):
        return FailureKind.IMAGE
    if isinstance(error, ImgforgeError):
        return FailureKind.HARNESS
    is_ours = isinstance(error, Exception) and not isinstance(error, _OF_A_TEST)
    return FailureKind.HARNESS if is_ours and _came_up_in_ours(error) else FailureKind.TEST


def _came_up_in_ours(error: BaseException) -> bool:
    """Tell whether an exception came up below code of ours that a test, or pytest, called."""
    ours = False
    for step in _steps(error.__traceback__):
        file = step.tb_frame.f_code.co_filename
        if not _is_ours(file):  # a test's
            ours = False
        elif file.startswith(f"{_PACKAGE}/"):
            ours = True
    return ours


def describe(error: BaseException, kind: FailureKind | None = None) -> Failure:
    """Return how an exception of ours is told; its traceback is looked at for the test's lines.

    `kind` is for one whose traceback has lost our frames.
    """
    hint = error.hint if isinstance(error, ImgforgeError) else ""
    said = str(error) if isinstance(error, ImgforgeError | ImageFailure) else repr(error)
    text = f"{said}\n{hint}" if hint and hint not in said else said
    spots = tuple(
        Spot(frame.filename, frame.lineno or 0, frame.name, (frame.line or "").strip())
        for frame in traceback.extract_tb(_of_tests(error.__traceback__))
    )
    return Failure(kind or kind_of(error), text, spots)


def hide_our_frames(error: BaseException) -> None:
    """Leave only the frames of tests in the tracebacks of an exception and of its causes.

    One that has no others keeps them.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        left = _of_tests(current.__traceback__)
        if left is not None:
            current.__traceback__ = left
        current = current.__cause__ or current.__context__


def _of_tests(trace: TracebackType | None) -> TracebackType | None:
    kept = [step for step in _steps(trace) if not _is_ours(step.tb_frame.f_code.co_filename)]
    above: TracebackType | None = None
    for step in reversed(kept):
        above = TracebackType(above, step.tb_frame, step.tb_lasti, step.tb_lineno)
    return above


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_ours(file: str) -> bool:
    hidden = file in _HIDDEN_FILES or file.startswith(_HIDDEN_FOLDERS)
    return hidden and not file.startswith(_SUITE)


def reason_of(text: str) -> list[str]:
    """Return the paragraphs of a failure's text that say why, without the console.

    A verdict's text has them after the console, and ends with its sign; a failed command's has
    them before what it said. Of what pytest shows of an assertion, they are its lines.
    """
    lines = text.split("\n")
    if asserted := [line[4:] for line in lines if _ASSERTED.match(line)]:
        return textwrap.dedent("\n".join(asserted)).split("\n")
    shown = [number for number, line in enumerate(lines) if _is_console(line)]
    told = lines[shown[-1] + 1 :] if shown else lines
    if shown and not any(line.strip() for line in told):
        told = lines[: shown[0]]
    paragraphs: list[str] = []
    for line in (line.strip() for line in told):
        starts = not paragraphs or line.startswith(("Sign ", "Rejected", "does not hold:"))
        if not shown or starts or not _is_verdict(paragraphs):
            paragraphs.append(line)
        else:
            paragraphs[-1] += f" {line}"
    return [line for line in sorted(paragraphs, key=_weight) if line]


def _is_console(line: str) -> bool:
    return bool(_CONSOLE_LINE.match(line)) or line in _CONSOLE_HEADS


def _is_verdict(paragraphs: Sequence[str]) -> bool:
    return any(line.startswith(("Rejected", "does not hold:")) for line in paragraphs)


def _weight(line: str) -> int:
    return 1 if line.startswith("does not hold:") else 0


def said_of(text: str) -> list[str]:
    """Return the lines that a failed command or the console said."""
    return [line[4:] for line in text.split("\n") if _CONSOLE_LINE.match(line)]


def shortened(text: str, *, told_for: str) -> str:
    """Return a text that was told in full for another test, in short."""
    if text.count("\n") < _LONG_LINES:
        return text
    return "\n".join([*reason_of(text), f"(In full at {told_for}.)"])


@dataclass(frozen=True, slots=True)
class _Crash:
    """Where and why, as pytest's own summary and JUnit XML look for it."""

    path: str
    lineno: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.lineno}: {self.message}"


class Told:
    """A failure as pytest shows one: what TestReport.longrepr needs of it.

    `place` is the file and line of the test, told where no line of it led to the failure.
    """

    def __init__(self, failure: Failure, *, root: Path, place: tuple[str, int] = ("", 0)) -> None:
        last = failure.spots[-1] if failure.spots else Spot(*place, "", "")
        message = visible(" ".join(reason_of(failure.text)[:2]))
        self.reprcrash = _Crash(near(last.path, root), last.line, message)
        self._spots = [
            (f"{near(spot.path, root)}:{spot.line}: in {spot.function}", spot.source)
            for spot in failure.spots
        ]
        self._lines = visible(failure.text).split("\n")

    def toterminal(self, tw: Any) -> None:
        """Write it, as pytest asks."""
        for place, source in self._spots:
            tw.line(place)
            if source:
                tw.line(f"    {source}")
        for line in self._lines:
            tw.line(f"E   {line}".rstrip(), red=True, bold=True)

    def __str__(self) -> str:
        spots = [part for spot in self._spots for part in (spot[0], f"    {spot[1]}")]
        return "\n".join([*spots, *(f"E   {line}" for line in self._lines)])


def replay_line(folder: Path) -> str:
    """Return the command line that starts a failed test's machine again, from its folder."""
    return shlex.join(["imgforge", "replay", near(folder, Path.cwd())])


def near(path: Path | str, root: Path) -> str:
    """Return a path as it is seen from a folder above it, or as it is."""
    with contextlib.suppress(ValueError):
        return str(Path(path).relative_to(root))
    return str(path)


def seen_from(nodeid: str, *, root: Path, folder: Path | None = None) -> str:
    """Return a node id, relative to pytest's rootdir, as it is given to pytest from a folder.

    The folder is the current one if none is given.
    """
    path, sign, test = nodeid.partition("::")
    place = root / path
    if not path or not place.exists():
        return nodeid
    return f"{os.path.relpath(place, folder or Path.cwd())}{sign}{test}"


def fill(text: str, *, width: int, most_lines: int) -> list[str]:
    """Return a text in at most so many lines of `width`; what is left out is marked."""
    return textwrap.wrap(
        visible(text).replace("\n", " "),
        max(width, 20),
        max_lines=max(most_lines, 1),
        placeholder=" …",
        break_on_hyphens=False,
    )
