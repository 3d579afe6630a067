"""The one door to external programs: argument lists in, bytes out, nothing left running.

Every child dies with the *thread* that started it (PR_SET_PDEATHSIG, prctl(2)): start what must
outlive a call from a thread that outlives it.
"""

import contextlib
import ctypes
import os
import resource
import select
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from imgforge import host
from imgforge.errors import BadInputError, CommandError, MissingProgramError
from imgforge.interruption import SIGNALS
from imgforge.programs import PROGRAMS

if TYPE_CHECKING:
    import sh

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_LIMIT_S = 5.0
_LIBC = ctypes.CDLL(None, use_errno=True)
_STDERR_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Streams:
    """What goes into a program and where its output goes.

    Without `stdout` and `stderr`, files, its output is kept in memory, however much it is;
    `on_stderr` sees each line of its stderr as it comes.
    """

    stdin: bytes = b""
    stdout: BinaryIO | None = None
    stderr: BinaryIO | None = None
    on_stderr: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a program runs: additions to its clean environment, folder, descriptors, umask.

    With `file_limit_bytes`, a write beyond that size of a file ends it by SIGXFSZ (setrlimit(2)).
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    pass_fds: Collection[int] = ()
    umask: int = 0o022
    file_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its replayable line, exit code, output and duration."""

    line: str
    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float


def find_program(name: str) -> Path:
    """Return the path of `name`, looked up on PATH and in the system folders.

    Raises MissingProgramError, naming the package that holds it.
    """
    found = shutil.which(name, path=host.search_path())
    if found:
        return Path(found)
    program = PROGRAMS.get(name)
    if program is None:
        raise MissingProgramError(f"Program {name}: not found on PATH.")
    raise MissingProgramError(
        f"Program {name} ({program.purpose}): not found on PATH.",
        hint=f"Install it: scripts/setup, or by hand the package {program.debian} (Debian, "
        f"Ubuntu), {program.fedora} (Fedora), {program.arch} (Arch).",
    )


class Process:
    """A running program that dies with the thread that started it."""

    def __init__(self, running: "sh.RunningCommand", line: str) -> None:
        self._running = running
        self.line = line

    @property
    def pid(self) -> int:
        """The process id, which is also its session's and process group's."""
        return int(self._running.pid)

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        return bool(self._running.is_alive())

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end; return its exit code, negative for a signal as in subprocess.

        Raises TimeoutError.
        """
        if timeout_s is not None and not self._ends_within(timeout_s):
            raise TimeoutError(f"still running after {timeout_s:g} s: {shorten(self.line)}")
        self._running.wait()
        return int(self._running.exit_code)

    def _ends_within(self, timeout_s: float) -> bool:
        # Not by sh's own limit: that polls, and does not wait for the last of the output.
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # While it is not reaped, its id is nobody else's.
            return not self.is_alive() or _wait_readable(descriptor, timeout_s)
        finally:
            os.close(descriptor)

    async def gone(self, timeout_s: float | None = None) -> None:
        """Wait until it has ended, without blocking the event loop; `wait` then returns at once.

        Raises TimeoutError.
        """
        import asyncio  # it takes 30 ms, and most that run programs need none of it

        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, ended.set)
        try:
            async with asyncio.timeout(timeout_s):
                await ended.wait()
        except TimeoutError:
            raise TimeoutError(
                f"still running after {timeout_s:g} s: {shorten(self.line)}"
            ) from None
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def output(self) -> tuple[bytes, bytes]:
        """Return what it wrote to stdout and stderr, once it has ended."""
        return bytes(self._running.stdout or b""), bytes(self._running.stderr or b"")

    def kill(self) -> None:
        """End it and its process group at once, and reap it."""
        self.end_family()
        with contextlib.suppress(ChildProcessError):  # an interrupted wait() had reaped it
            self.wait()

    def interrupt(self) -> None:
        """Ask it and its process group to end, as Ctrl-C does, without waiting."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGINT)

    def end_family(self) -> None:
        """End what is left of its process group, itself included, without waiting."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def spawn(
    program: str,
    arguments: Sequence[str | Path],
    *,
    streams: Streams = Streams(),
    setting: Setting = Setting(),
) -> Process:
    """Start `program` and return at once.

    The child gets a clean environment, a session of its own and no descriptors but
    those of `setting`.
    """
    import sh  # with asyncio in tow it takes 30 ms; an unchanged build runs no program

    path = find_program(program)
    texts = [str(argument) for argument in arguments]
    options: dict[str, Any] = {
        "_bg_exc": False,
        "_ok_code": list(range(-signal.NSIG, 256)),
        "_new_session": True,
        "_preexec_fn": _prepare_child(os.getpid(), setting),
        "_env": {**host.child_environment(), **setting.environment},
        "_in": streams.stdin,
        "_encoding": "utf-8",
        "_decode_errors": "replace",
        "_tty_out": False,
        "_pass_fds": set(setting.pass_fds),
    }
    if setting.cwd is not None:
        options["_cwd"] = str(setting.cwd)
    if streams.stdout is not None:
        options["_out"] = streams.stdout
    if streams.stderr is not None:
        options["_err"] = streams.stderr
    if streams.on_stderr is not None:
        options |= {"_err": streams.on_stderr, "_tee": "err"}
    line = shlex.join([program, *texts])
    with contextlib.ExitStack() as undo:
        try:
            with _interrupted_later():
                process = Process(sh.Command(str(path))(*texts, _bg=True, **options), line)
                undo.callback(process.kill)
        except sh.ForkException as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise CommandError(f"{program} could not be started: {reason}\n  {line}") from None
        undo.pop_all()
    return process


def attach(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a person's own command: it has our terminal, streams, environment and process group.

    It dies with us, and what it leaves behind becomes ours, for `end_orphans` to end. Raises
    BadInputError where it cannot be started.
    """
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        return subprocess.Popen(arguments, preexec_fn=_die_with(os.getpid()))  # noqa: S603
    except OSError as error:
        raise BadInputError(
            f"Command {shlex.join(arguments)}: cannot be started: {error.strerror}."
        ) from None


def end_orphans() -> None:
    """End all children of this process, and theirs, which become ours as their parents end."""
    ends_s = time.monotonic() + _ORPHANS_LIMIT_S
    while (children := _children()) and time.monotonic() < ends_s:
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)


def _children() -> list[int]:
    """Return this process's children, of all its threads (proc_pid_task_children(5))."""
    found: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text(encoding="ascii").split())
    return found


@contextlib.contextmanager
def _interrupted_later() -> Iterator[None]:
    """Put off interruptions of the main thread to the end of the block.

    A fork runs other modules' hooks (os.register_at_fork). What a signal handler raises in one is
    dropped: the interruption is lost, and logging's lock, say, stays taken for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    usual = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number in usual:
            signal.signal(number, lambda number, _frame: seen.append(number))
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        for late in seen[:1]:
            signal.raise_signal(late)


def run(
    program: str,
    arguments: Sequence[str | Path],
    *,
    streams: Streams = Streams(),
    setting: Setting = Setting(),
    timeout_s: float | None = None,
    accepted_exit_codes: Collection[int] = (0,),
) -> Completed:
    """Run `program` to its end and return what it said.

    Raises CommandError, with the replayable line and the end of stderr, when the exit code is not
    among `accepted_exit_codes` or `timeout_s` passes; MissingProgramError when it is not there.
    Whatever interrupts the wait ends the program and its process group first.
    """
    started = time.monotonic()
    process = spawn(program, arguments, streams=streams, setting=setting)
    with _ended_on_error(process):
        try:
            exit_code = process.wait(timeout_s)
        except TimeoutError:
            process.kill()
            raise _failure(process, f"did not end within {timeout_s:g} s") from None
    process.end_family()  # what it left in the background
    if exit_code not in accepted_exit_codes:
        raise _failure(process, _describe_exit(exit_code))
    out, err = process.output()
    return Completed(process.line, exit_code, out, err, time.monotonic() - started)


@contextlib.contextmanager
def _ended_on_error(process: Process) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()
        raise


def _wait_readable(descriptor: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(0, timeout_s) * 1000))


def _failure(process: Process, what: str) -> CommandError:
    stderr = process.output()[1].decode(errors="replace").strip()
    tail = "\n".join("  " + line for line in stderr.splitlines()[-_STDERR_TAIL_LINES:])
    return CommandError(
        f"{process.line.split(maxsplit=1)[0]} {what}:\n  {process.line}"
        + (f"\nthe end of its stderr:\n{tail}" if tail else "\nit said nothing on stderr.")
    )


def _describe_exit(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"failed with exit code {exit_code}"


def shorten(line: str, width: int = 160) -> str:
    """Return `line` cut to `width` characters, for messages."""
    return line if len(line) <= width else line[: width - 1] + "…"


def _prepare_child(parent_pid: int, setting: Setting) -> Callable[[], None]:
    def prepare() -> None:
        os.umask(setting.umask)
        for descriptor in setting.pass_fds:
            os.set_inheritable(descriptor, True)  # noqa: FBT003 (it takes no keywords)
        if setting.file_limit_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (setting.file_limit_bytes,) * 2)
        die_with_parent()

    die_with_parent = _die_with(parent_pid)
    return prepare


def _die_with(parent_pid: int) -> Callable[[], None]:
    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died between fork and prctl
            os._exit(255)

    return prepare
