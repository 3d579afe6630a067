"""Which accelerator runs the machines of this host, and how that was found out."""

import hashlib
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from imgforge import host
from imgforge.accelerator import Accelerator, AcceleratorKind, AcceleratorWish
from imgforge.command import find_program
from imgforge.errors import HostError
from imgforge.files import appearing
from imgforge.machine.proof import CPU_MODELS, Rung, prove_kvm

_LOG = logging.getLogger("imgforge")
_SCHEMA = 1
_DEVICE = Path("/dev/kvm")
_TCG_CPU_MODEL = "max"  # qemu64 crashes the kernels of newer distributions


def choose_accelerator(
    wish: AcceleratorWish, *, kernel: Path | None, cache: Path, device: Path = _DEVICE
) -> Accelerator:
    """Choose what runs the guest's instructions, with the reason in words.

    KVM is chosen only where it booted `kernel` (a bzImage for x86-64) to the end, here and with
    this QEMU; what came of it is kept in cache/accelerator. A proof takes a second where KVM
    works, and up to 25 s once where it does not. Blocks: in an event loop, call it in a thread.

    Raises HostError for the wish `kvm` where KVM does not run machines: it never falls back.
    """
    if wish is AcceleratorWish.TCG:
        return Accelerator(AcceleratorKind.TCG, _TCG_CPU_MODEL, "asked for")
    chosen = _without_proof(device) or _remembered_or_proved(kernel, cache=cache)
    if wish is AcceleratorWish.KVM and chosen.kind is not AcceleratorKind.KVM:
        raise HostError(
            f"Accelerator kvm: {chosen.reason}.",
            hint="Use --accel auto or --accel tcg to run without KVM.",
        )
    return chosen


def find_proof_kernel(cache: Path, *, boot: Path = Path("/boot")) -> Path | None:
    """Return a kernel that could prove KVM: of a cached root tree, else the host's own, or None."""
    cached = sorted(cache.glob("rootfs/*/tree/boot/vmlinuz-*"))
    own = sorted(boot.glob("vmlinuz-*")) if boot.is_dir() else []
    readable = (path for path in (*cached, *own) if path.is_file() and os.access(path, os.R_OK))
    return next(readable, None)


def _without_proof(device: Path) -> Accelerator | None:
    """Return TCG where KVM cannot even be tried."""
    if not device.exists():
        return _tcg(f"this host has no {device}")
    if not os.access(device, os.R_OK | os.W_OK):
        return _tcg(f"this user may not open {device} (see its group: usually kvm)")
    return None


def _remembered_or_proved(kernel: Path | None, *, cache: Path) -> Accelerator:
    memory = cache / "accelerator" / f"{_host_key()}.json"
    remembered = _read(memory)
    if remembered is not None:
        return remembered
    if kernel is None:
        return _tcg("KVM is not proved yet: there is no kernel to prove it with")
    _LOG.info("accelerator: proving KVM with %s", kernel.name)
    chosen = _judge(prove_kvm(kernel), memory)
    with appearing(memory) as new:
        content = {"schema": _SCHEMA, **asdict(chosen)}
        new.write_text(json.dumps(content, sort_keys=True, indent=2) + "\n", encoding="utf-8")
    return chosen


def _judge(rungs: list[Rung], memory: Path) -> Accelerator:
    told = "; ".join(f"with -cpu {rung.cpu_model} {rung.words}" for rung in rungs)
    if rungs[-1].proved:
        return Accelerator(AcceleratorKind.KVM, rungs[-1].cpu_model, f"KVM proved: {told}")
    return _tcg(f"KVM opens but does not run machines: {told} (remembered in {memory})")


def _tcg(reason: str) -> Accelerator:
    return Accelerator(AcceleratorKind.TCG, _TCG_CPU_MODEL, reason)


def _read(memory: Path) -> Accelerator | None:
    """Return the verdict kept in `memory`, or None where there is none that can be read."""
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    match content:
        case {"schema": 1, "kind": "kvm", "cpu_model": str(cpu_model), "reason": str(reason)} if (
            cpu_model in CPU_MODELS
        ):
            return Accelerator(AcceleratorKind.KVM, cpu_model, reason)
        case {"schema": 1, "kind": "tcg", "reason": str(reason)}:
            return _tcg(reason)
        case _:
            return None


def _host_key() -> str:
    """Return the digest of what a verdict holds for: this machine, its kernel and its QEMU.

    QEMU counts by its file's size and time: asking it for its version takes 70 ms of each boot.
    """
    status = find_program("qemu-system-x86_64").stat()
    qemu = f"{status.st_size} {status.st_mtime_ns}"
    parts = [_text(Path("/etc/machine-id")), _cpu_name(), host.kernel_release(), qemu]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _cpu_name() -> str:
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    return next((line for line in lines if line.startswith("model name")), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
