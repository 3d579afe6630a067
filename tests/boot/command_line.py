"""The real command line in a room of its own, and what it must not leave behind there."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

DIRECT_PV = ("--layout", "pv", "--pv-boot", "direct")
"""What `imgforge run` is told where a test is not about Xen: a direct boot is the fastest."""
_ASIDE = ".imgforge-aside-"
_LIMIT_S = 480.0
_GONE_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command ended with."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def result(self) -> Any:
        """The JSON value on the first line of stdout."""
        return json.loads(self.stdout.splitlines()[0])


@dataclass(frozen=True, slots=True)
class Room:
    """Where a test runs imgforge: home, catalog, runtime folder and results of its own.

    HOME is the mark of all processes started here: each child inherits it.
    """

    folder: Path
    runtime: Path
    cache: Path
    programs: Path | None = None

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.folder / "out"

    @property
    def home(self) -> Path:
        """The home of everything that runs here."""
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of imgforge here."""
        own = {
            "HOME": str(self.home),
            "IMGFORGE_CACHE": str(self.cache),
            "NO_COLOR": "1",
            "TMPDIR": str(self.runtime),
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_RUNTIME_DIR": str(self.runtime),
        }
        path = os.environ["PATH"]
        if self.programs is not None:
            path = f"{self.programs}{os.pathsep}{path}"
        return {**os.environ, **own, "PATH": path}

    def run(self, *words: str | Path, before: Sequence[str] = ()) -> Ended:
        """Run imgforge to its end; `before` is a program that starts it."""
        with self.start(*words, before=before) as running:
            return running.wait()

    def start(
        self, *words: str | Path, before: Sequence[str] = (), module: str = "imgforge"
    ) -> "Running":
        """Start imgforge, or pytest with its plugin."""
        self.home.mkdir(exist_ok=True)
        command = [*before, sys.executable, "-m", module, *(str(word) for word in words)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        return Running(process)

    def processes(self) -> list[str]:
        """Return the command lines of the processes that run here."""
        mark = f"HOME={self.home}".encode()
        return [words for words, environment in _processes() if mark in environment.split(b"\0")]

    def asides(self) -> list[Path]:
        """Return what is half made here."""
        places = (self.folder, self.runtime)
        found = [path for place in places for path in place.rglob(_ASIDE + "*")]
        if not self.cache.is_relative_to(self.folder):
            return found
        return found + list(self.cache.glob(f"*/{_ASIDE}*"))

    def assert_no_process_is_left(self) -> None:
        """Wait a little for the last one to go."""
        deadline = time.monotonic() + _GONE_LIMIT_S
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == []

    def assert_nothing_half_made_looks_finished(self, sha256: str) -> None:
        """Check that each disk here has this digest, and that records and verdicts say so."""
        for disk in self.out.glob("*.raw"):
            assert file_sha256(disk) == sha256, disk
        for record in self.out.glob("*.disk.json"):
            assert json.loads(record.read_bytes())["sha256"] == sha256
            assert record.with_name(record.name.replace(".disk.json", ".raw")).exists()
        for verdict in self.out.glob("*/verdict.json"):
            values = json.loads(verdict.read_bytes())
            assert values["accepted"]
            assert values["disk"]["sha256_before"] == sha256
            # It comes last: all else that tells of the test is there.
            assert verdict.with_name("report.html").exists()
            assert verdict.with_name("junit.xml").exists()


@dataclass(slots=True)
class Running:
    """An imgforge that runs; what it says on stderr is seen as it comes."""

    process: subprocess.Popen[bytes]
    _stdout: list[bytes] = field(default_factory=list)
    _stderr: list[bytes] = field(default_factory=list)
    _said: threading.Condition = field(default_factory=threading.Condition)
    _readers: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for stream, lines in (
            (self.process.stdout, self._stdout),
            (self.process.stderr, self._stderr),
        ):
            reader = threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            reader.start()
            self._readers.append(reader)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)

    @property
    def stderr(self) -> str:
        """What it said on stderr so far."""
        return b"".join(self._stderr).decode(errors="replace")

    @property
    def stdout(self) -> str:
        """What it said on stdout so far."""
        return b"".join(self._stdout).decode(errors="replace")

    def saw(self, text: str) -> bool:
        """Wait until `text` was on stderr; tell whether it was before the end."""
        deadline = time.monotonic() + _LIMIT_S
        with self._said:
            while text not in self.stderr:
                if not self._readers[1].is_alive() or time.monotonic() > deadline:
                    return text in self.stderr
                self._said.wait(0.2)
        return True

    def printed(self, text: str) -> bool:
        """Wait until `text` was on stdout; tell whether it was before the end."""
        deadline = time.monotonic() + _LIMIT_S
        with self._said:
            while text not in self.stdout:
                if not self._readers[0].is_alive() or time.monotonic() > deadline:
                    return False
                self._said.wait(0.2)
        return True

    def meets_signals(self) -> bool:
        """Wait until imgforge itself decides what an interruption does: Python is up."""
        status = Path(f"/proc/{self.process.pid}/status")
        while self.process.poll() is None:
            caught = int(status.read_text(encoding="ascii").partition("SigCgt:")[2].split()[0], 16)
            if caught >> (signal.SIGTERM - 1) & 1:
                return True
            time.sleep(0.005)
        return False

    def runs_for(self, seconds: float) -> bool:
        """Let it run; tell whether it still does."""
        try:
            self.process.wait(max(seconds, 0.001))
        except subprocess.TimeoutExpired:
            return True
        return False

    def interrupt(self, number: signal.Signals) -> Ended:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.wait(30)

    def wait(self, limit_s: float = _LIMIT_S) -> Ended:
        """Wait for the end."""
        exit_code = self.process.wait(limit_s)
        for reader in self._readers:
            reader.join(30)
        return Ended(exit_code, b"".join(self._stdout).decode(), self.stderr)

    def _read(self, stream: IO[bytes], lines: list[bytes]) -> None:
        for line in stream:
            with self._said:
                lines.append(line)
                self._said.notify_all()


def file_sha256(path: Path) -> str:
    """Return a file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _processes() -> Iterator[tuple[str, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if state != "Z":
                yield words, (folder / "environ").read_bytes()
        except OSError:
            continue
