"""What doctor finds on a host, real and broken."""

import json
import os
from pathlib import Path

import pytest

from imgforge import doctor
from imgforge.distribution import Family
from imgforge.doctor import examine_host, examine_program
from imgforge.machine import AcceleratorKind, AcceleratorWish
from imgforge.programs import PROGRAMS, Program

SLOW_PROGRAM = Program(
    name="a-program", purpose="stands in for one", debian="deb", fedora="rpm", arch="pkg"
)


def put_program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / SLOW_PROGRAM.name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_this_host_is_ready_and_the_report_goes_into_json() -> None:
    report = examine_host(AcceleratorWish.TCG)
    assert report.missing == ()
    assert report.ready
    assert report.accelerator is not None
    assert report.accelerator.kind is AcceleratorKind.TCG
    seen = json.loads(json.dumps(report.as_json()))
    assert seen["ready"] is True
    assert {program["name"] for program in seen["programs"]} == set(PROGRAMS)
    qemu = next(program for program in seen["programs"] if program["name"] == "qemu-system-x86_64")
    assert "version" in qemu["version"]
    assert qemu["path"].startswith("/")


def test_every_program_that_tells_a_version_was_understood() -> None:
    for program in PROGRAMS.values():
        state = examine_program(program)
        if state.path and program.version_arguments:
            assert any(character.isdigit() for character in state.version), state


def test_where_programs_are_missing_the_report_names_their_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("imgforge.host._SYSTEM_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path / "cache"))
    report = examine_host(AcceleratorWish.TCG)
    assert not report.ready
    assert {"qemu-system-x86_64", "mke2fs", "ssh"} <= set(report.missing)
    assert "fakeroot" not in report.missing
    assert report.install_line()
    assert json.loads(json.dumps(report.as_json()))["install"] == report.install_line()
    qemu = next(state for state in report.programs if state.name == "qemu-system-x86_64")
    assert qemu.packages[Family.FEDORA] == "qemu-system-x86-core"


def test_a_wish_for_kvm_that_cannot_be_met_leaves_the_host_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if Path("/dev/kvm").exists():
        # The proof itself is the machine room's; here only a host without any kernel to prove with.
        monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path))
        monkeypatch.setattr(doctor, "find_proof_kernel", lambda _cache: None)
    report = examine_host(AcceleratorWish.KVM)
    assert report.accelerator is None
    assert report.missing == ("acceleration",)


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo 'prog 1.2'; echo more", "prog 1.2"),
        ("echo 'prog 1.3' >&2; exit 1", "prog 1.3"),
        ("printf '\\n\\n  prog 1.4  \\n'", "prog 1.4"),
        ("printf '\\033[31mprog\\007 \\377 1.5\\n'", "[31mprog \ufffd 1.5"),
        ("kill -SEGV $$", ""),
        (":", ""),
    ],
)
def test_a_version_is_the_first_line_that_says_something(
    script: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, script, monkeypatch)
    assert examine_program(SLOW_PROGRAM).version == version


def test_a_program_that_hangs_is_there_without_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(tmp_path, "sleep 60", monkeypatch)
    monkeypatch.setattr(doctor, "_VERSION_LIMIT_S", 0.5)
    state = examine_program(SLOW_PROGRAM)
    assert state.path == str(tmp_path / "a-program")
    assert state.version == ""
