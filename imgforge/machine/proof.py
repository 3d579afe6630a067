"""A KVM that opens is not a KVM that runs: it is proved by booting a real kernel.

On some hosts /dev/kvm opens, a virtual CPU is made, and then QEMU aborts on an MSR, a kernel
hangs in its early boot, or dies with `KVM internal error`. `-accel kvm:tcg` does not fall back
there, since KVM did initialise.
"""

import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imgforge.accelerator import Accelerator, AcceleratorKind
from imgforge.command import Process, Setting, Streams, spawn
from imgforge.machine.argv import accelerator_argv
from imgforge.machine.console_text import ConsoleText, strip_controls

# `max` last: it shows the guest what the host may not be able to keep.
CPU_MODELS = ("host", "host,arch-capabilities=off", "max")
RUNG_LIMIT_S = 8.0
_TAIL_CHARACTERS = 8192

# init/do_mounts.c: a kernel without a root ends its boot with one of these.
_END_OF_BOOT = re.compile(r"Unable to mount root fs|Cannot open root device|No working init found")
# accel/kvm/kvm-all.c (kvm_handle_internal_error, KVM_EXIT_FAIL_ENTRY and its like)
_HOST_FAULT = re.compile(r"KVM internal error|KVM: entry failed|error: kvm run failed")


@dataclass(frozen=True, slots=True)
class Rung:
    """One CPU model tried: whether the kernel came to the end of its boot, and what happened."""

    cpu_model: str
    proved: bool
    words: str


def prove_kvm(kernel: Path, *, limit_s: float = RUNG_LIMIT_S) -> list[Rung]:
    """Boot `kernel` (a bzImage for x86-64) under KVM until a CPU model works.

    Returns what each rung did, the proved one last; `limit_s` seconds for each at most. Raises
    MissingProgramError without QEMU.
    """
    rungs: list[Rung] = []
    for cpu_model in CPU_MODELS:
        rungs.append(_try(kernel, cpu_model, limit_s=limit_s))
        if rungs[-1].proved:
            break
    return rungs


def _try(kernel: Path, cpu_model: str, *, limit_s: float) -> Rung:
    started = time.monotonic()
    with _trial(kernel, cpu_model) as trial:
        seen = trial.watch(until=started + limit_s)
    seconds = time.monotonic() - started
    if _END_OF_BOOT.search(seen.console):
        return Rung(cpu_model, proved=True, words=f"a kernel booted to its end in {seconds:.1f} s")
    return Rung(cpu_model, proved=False, words=_describe(seen, seconds=seconds))


@dataclass(frozen=True, slots=True)
class _Seen:
    """The end of a trial: the end of its console, stderr, and whether QEMU ended by itself."""

    console: str
    stderr: str
    exit_code: int | None


def _describe(seen: _Seen, *, seconds: float) -> str:
    last = strip_controls(seen.console.rstrip().rpartition("\n")[2])[:100]
    where = f"the last console line was {last!r}" if last else "the console stayed silent"
    said = [line for line in seen.stderr.splitlines() if line.strip()]
    fault = next((line for line in said if _HOST_FAULT.search(line)), "")
    if fault:
        return f"{strip_controls(fault)} after {seconds:.1f} s, {where}"
    if seen.exit_code is None:
        return f"the kernel hung: nothing came of it in {seconds:.0f} s, {where}"
    if seen.exit_code == 0:
        return f"the kernel gave up after {seconds:.1f} s, {where}"
    reason = (
        strip_controls(said[0]).removeprefix("qemu-system-x86_64: error: ") if said else "no reason"
    )
    how = "aborted" if seen.exit_code < 0 else f"ended with exit code {seen.exit_code}"
    return f"QEMU {how} after {seconds:.1f} s: {reason}"


class _Trial:
    """A QEMU that boots the kernel, its console and what it says on stderr."""

    def __init__(self, kernel: Path, cpu_model: str) -> None:
        self._stderr: list[str] = []
        self._console, console_end = socket.socketpair()
        self._fault_seen, self._fault = socket.socketpair()
        console_end.set_inheritable(True)
        with closing(console_end):
            self.process: Process = spawn(
                "qemu-system-x86_64",
                _trial_argv(kernel, cpu_model, console_fd=console_end.fileno()),
                streams=Streams(on_stderr=self._note),
                setting=Setting(pass_fds=(console_end.fileno(),)),
            )

    def watch(self, *, until: float) -> _Seen:
        """Read the console until the kernel's boot ends, QEMU does, or the time is up."""
        text = ConsoleText()
        console = ""
        exit_code = None
        while (left_s := until - time.monotonic()) > 0 and not _END_OF_BOOT.search(console):
            ready, _, _ = select.select([self._console, self._fault_seen], [], [], left_s)
            if self._console in ready:
                data = self._console.recv(65536)
                if not data:
                    exit_code = self._exit_code()
                    break
                lines = "".join(line + "\n" for line in text.feed(data))
                console = (console + lines)[-_TAIL_CHARACTERS:]
            elif ready:  # a fault: QEMU stands still and never ends by itself
                break
        return _Seen(console + text.pending, "".join(self._stderr), exit_code)

    def close(self) -> None:
        """End QEMU and let go of the sockets."""
        self.process.kill()
        for wire in (self._console, self._fault_seen, self._fault):
            wire.close()

    def _exit_code(self) -> int | None:
        try:
            return self.process.wait(2.0)
        except TimeoutError:
            return None

    def _note(self, line: str) -> None:
        """Keep a line of stderr; called in a thread of its reader."""
        self._stderr.append(line)
        if _HOST_FAULT.search(line):
            self._fault.sendall(b"!")


@contextmanager
def _trial(kernel: Path, cpu_model: str) -> Iterator[_Trial]:
    trial = _Trial(kernel, cpu_model)
    try:
        yield trial
    finally:
        trial.close()


def _trial_argv(kernel: Path, cpu_model: str, *, console_fd: int) -> list[str]:
    accelerator = Accelerator(AcceleratorKind.KVM, cpu_model, "")
    return [
        *("-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc"),
        *accelerator_argv(accelerator),
        *("-smp", "2", "-m", "256M", "-no-reboot"),
        *("-chardev", f"socket,id=console,fd={console_fd}", "-serial", "chardev:console"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    ]
