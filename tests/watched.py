"""A command whose output and process list are watched while it runs."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PAUSE_S = 0.05


@dataclass(frozen=True)
class Watched:
    """What a command said, and the command lines of all that it started."""

    code: int
    said: str
    listed: str


def watched(words: Sequence[str], *, environment: Mapping[str, str], folder: Path) -> Watched:
    """Run `imgforge` to its end in a folder."""
    running = subprocess.Popen(
        [sys.executable, "-m", "imgforge", *words],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    listed = set()
    while running.poll() is None:
        listed.add(command_lines(running.pid))
        try:
            running.wait(timeout=_PAUSE_S)
        except subprocess.TimeoutExpired:
            continue
    out, err = running.communicate()
    return Watched(running.returncode, out + err, "\n".join(listed))


def command_lines(first: int) -> str:
    """Return the command lines of a process and of all that it started."""
    told = []
    left = [first]
    while left:
        process = Path(f"/proc/{left.pop()}")
        try:
            told.append((process / "cmdline").read_text(errors="replace"))
            children = (process / "task" / process.name / "children").read_text()
        except OSError:  # it is gone
            continue
        left += [int(child) for child in children.split()]
    return "\n".join(told)
