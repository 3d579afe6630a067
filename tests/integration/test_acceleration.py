"""KVM is proved, refused in words, and remembered; a fake QEMU plays the hosts."""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.machine import (
    AcceleratorKind,
    AcceleratorWish,
    choose_accelerator,
    find_proof_kernel,
    proof,
)

FAKE = """#!{python}
import os, sys, time
arguments = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(arguments[arguments.index("-cpu") + 1] + "\\n")
model = arguments[arguments.index("-cpu") + 1]
chardev = arguments[arguments.index("-chardev") + 1]
console = int(chardev.rpartition("fd=")[2])
def say(text):
    os.write(console, text.encode())
def complain(text):
    print(text, file=sys.stderr, flush=True)
{behaviour}
"""
ABORTS = 'complain("qemu-system-x86_64: error: failed to set MSR 0x10a to 0x69"); os.abort()'
HANGS = 'say("Booting the kernel.\\r\\n"); time.sleep(60)'
FAULTS = (
    'say("[    0.1] x\\r\\n"); complain("KVM internal error. Suberror: 1");'
    ' complain("emulation failure"); time.sleep(60)'
)
BOOTS = (
    'say("[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root "); '
    'say("fs on unknown-block(0,0)\\r\\n"); time.sleep(60)'
)
RESETS = 'say("[    0.1] early\\r\\n"); sys.exit(0)'
REFUSES = 'complain("qemu-system-x86_64: CPU model \\x1b[31mhost\\x1b[0m needs KVM"); sys.exit(1)'


Host = Callable[[str], Path]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Give a QEMU that behaves as told; return the file that lists the CPU models tried."""

    def install(behaviour: str) -> Path:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        calls = tmp_path / "calls"
        program = programs / "qemu-system-x86_64"
        program.write_text(
            FAKE.format(python=sys.executable, calls=str(calls), behaviour=behaviour)
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        return calls

    (tmp_path / "kernel").write_bytes(b"bzImage")
    (tmp_path / "kvm").touch()
    return install


def choose(
    tmp_path: Path, wish: AcceleratorWish = AcceleratorWish.AUTO, *, with_kernel: bool = True
) -> tuple[AcceleratorKind, str, str]:
    chosen = choose_accelerator(
        wish,
        kernel=tmp_path / "kernel" if with_kernel else None,
        cache=tmp_path / "cache",
        device=tmp_path / "kvm",
    )
    return chosen.kind, chosen.cpu_model, chosen.reason


def test_a_kernel_that_boots_to_its_end_proves_kvm_and_is_remembered(
    host: Host, tmp_path: Path
) -> None:
    calls = host(BOOTS)
    kind, cpu_model, reason = choose(tmp_path)
    assert (kind, cpu_model) == (AcceleratorKind.KVM, "host")
    assert reason.startswith("KVM proved: with -cpu host a kernel booted to its end in ")
    assert choose(tmp_path) == (kind, cpu_model, reason)
    assert choose(tmp_path, with_kernel=False) == (kind, cpu_model, reason)
    assert calls.read_text() == "host\n"


def test_the_ladder_goes_on_to_the_model_that_works(host: Host, tmp_path: Path) -> None:
    calls = host(f"if model == 'host': {ABORTS}\n{BOOTS}")
    kind, cpu_model, reason = choose(tmp_path)
    assert (kind, cpu_model) == (AcceleratorKind.KVM, "host,arch-capabilities=off")
    assert "with -cpu host QEMU aborted" in reason
    assert calls.read_text().splitlines() == ["host", "host,arch-capabilities=off"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (ABORTS, r"QEMU aborted after 0.\d s: failed to set MSR 0x10a to 0x69"),
        (FAULTS, r"KVM internal error. Suberror: 1 after 0.\d s, the last console line was"),
        (RESETS, r"the kernel gave up after 0.\d s, the last console line was '\[ +0.1\] early'"),
        (REFUSES, r"QEMU ended with exit code 1 after 0.\d s: .*CPU model host needs KVM"),
    ],
)
def test_each_way_of_failing_is_told_in_words(
    host: Host, tmp_path: Path, behaviour: str, words: str
) -> None:
    calls = host(behaviour)
    started = time.monotonic()
    chosen = choose_accelerator(
        AcceleratorWish.AUTO,
        kernel=tmp_path / "kernel",
        cache=tmp_path / "cache",
        device=tmp_path / "kvm",
    )
    assert time.monotonic() - started < 8
    assert chosen.kind is AcceleratorKind.TCG
    assert chosen.cpu_model == "max"
    for model in ("host", "host,arch-capabilities=off", "max"):
        assert re.search(rf"with -cpu {model} {words}", chosen.reason), chosen.reason
    assert "\x1b" not in chosen.reason
    assert calls.read_text().splitlines() == ["host", "host,arch-capabilities=off", "max"]
    choose(tmp_path)
    assert len(calls.read_text().splitlines()) == 3, "the verdict is remembered"


def test_a_kernel_that_hangs_costs_its_time_limit_and_leaves_no_qemu(
    host: Host, tmp_path: Path
) -> None:
    host(HANGS)
    started = time.monotonic()
    rungs = proof.prove_kvm(tmp_path / "kernel", limit_s=0.7)
    assert 2.0 < time.monotonic() - started < 6.0
    assert [rung.proved for rung in rungs] == [False, False, False]
    assert "the kernel hung" in rungs[0].words
    assert "'Booting the kernel.'" in rungs[0].words


def test_the_wish_for_kvm_never_falls_back(host: Host, tmp_path: Path) -> None:
    calls = host(ABORTS)
    with pytest.raises(HostError, match="failed to set MSR") as caught:
        choose(tmp_path, AcceleratorWish.KVM)
    assert "--accel" in caught.value.hint
    tried = calls.read_text()
    with pytest.raises(HostError, match="failed to set MSR"):
        choose(tmp_path, AcceleratorWish.KVM)
    assert calls.read_text() == tried  # remembered


def test_another_qemu_is_proved_anew(host: Host, tmp_path: Path) -> None:
    host(ABORTS)
    assert choose(tmp_path)[0] is AcceleratorKind.TCG
    host(BOOTS)
    assert choose(tmp_path)[0] is AcceleratorKind.KVM


def test_the_wish_for_tcg_asks_nobody(host: Host, tmp_path: Path) -> None:
    calls = host(BOOTS)
    assert choose(tmp_path, AcceleratorWish.TCG) == (AcceleratorKind.TCG, "max", "asked for")
    assert not calls.exists()


def test_without_a_kernel_kvm_is_not_proved_and_nothing_is_remembered(
    host: Host, tmp_path: Path
) -> None:
    host(BOOTS)
    kind, _, reason = choose(tmp_path, with_kernel=False)
    assert kind is AcceleratorKind.TCG
    assert "no kernel to prove it with" in reason
    assert choose(tmp_path)[0] is AcceleratorKind.KVM


def test_a_host_without_kvm_says_so(host: Host, tmp_path: Path) -> None:
    host(BOOTS)
    (tmp_path / "kvm").unlink()
    kind, _, reason = choose(tmp_path)
    assert (kind, reason) == (AcceleratorKind.TCG, f"this host has no {tmp_path / 'kvm'}")
    with pytest.raises(HostError, match="has no"):
        choose(tmp_path, AcceleratorWish.KVM)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open anything: run as an ordinary user")
def test_a_kvm_that_may_not_be_opened_says_so(host: Host, tmp_path: Path) -> None:
    host(BOOTS)
    (tmp_path / "kvm").chmod(0)
    assert "may not open" in choose(tmp_path)[2]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\x00",
        b'{"schema": 2}',
        b'{"schema": 1, "kind": "kvm", "cpu_model": "x,help", "reason": ""}',
    ],
)
def test_a_spoilt_memory_is_proved_again(host: Host, tmp_path: Path, content: bytes) -> None:
    host(BOOTS)
    choose(tmp_path)
    (memory,) = (tmp_path / "cache/accelerator").glob("*.json")
    memory.write_bytes(content)
    assert choose(tmp_path)[:2] == (AcceleratorKind.KVM, "host")


def test_finds_a_kernel_in_the_cache_or_in_boot(tmp_path: Path) -> None:
    cache, boot = tmp_path / "cache", tmp_path / "boot"
    assert find_proof_kernel(cache, boot=boot) is None
    boot.mkdir()
    (boot / "vmlinuz-6.1").touch()
    assert find_proof_kernel(cache, boot=boot) == boot / "vmlinuz-6.1"
    cached = cache / "rootfs/abc/tree/boot/vmlinuz-6.1.0-cloud"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_proof_kernel(cache, boot=boot) == cached
