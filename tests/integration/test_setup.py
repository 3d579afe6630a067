"""scripts/setup, imgforge/programs.py, the lock and the other ground files say the same."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from imgforge.programs import PROGRAMS

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / ".ci" / "run", *sorted(filter(Path.is_file, (ROOT / "scripts").iterdir()))]
SHELL_SCRIPTS = [path for path in SCRIPTS if path.read_bytes()[:20].split(b"\n")[0].endswith(b"sh")]


def needs_of_setup() -> dict[str, str]:
    """Return what scripts/setup looks for, and the package that has it."""
    text = (ROOT / "scripts" / "setup").read_text()
    table = text.partition("needs='\n")[2].partition("'")[0]
    return {sign: package for package, sign in (line.split() for line in table.splitlines())}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_setup_installs_each_program_by_its_debian_package(name: str) -> None:
    assert needs_of_setup()[name] == PROGRAMS[name].debian


def test_every_requirement_is_locked_with_digests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    ]
    lock = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([a-z0-9-]+)==\S+.*\\\n((?:    --hash=.*\n)+)", lock, re.MULTILINE)
    locked = dict(pins)
    for requirement in asked:
        name = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace(".", "-")
        assert "--hash=sha256:" in locked[name]
    # A name may stand there twice: other versions of it for other Pythons.
    assert len(pins) == len(re.findall(r"^\S+==", lock, re.MULTILINE))


def test_the_lock_names_no_server() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    assert "--find-links" not in lock


def test_ci_runs_the_tests_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', "exec make test"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_each_script_can_be_run(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is missing")
def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    done = subprocess.run(
        ["shellcheck", *SHELL_SCRIPTS], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is missing")
def test_the_vagrantfile_is_ruby() -> None:
    subprocess.run(["ruby", "-c", ROOT / "Vagrantfile"], timeout=60, check=True)


@pytest.mark.skipif(shutil.which("vagrant") is None, reason="vagrant is missing")
def test_the_vagrantfile_is_valid() -> None:
    command = ["vagrant", "validate", "--ignore-provider"]
    subprocess.run(command, cwd=ROOT, timeout=300, check=True)


def test_setup_refuses_an_argument_it_does_not_know() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "setup", "--chekc"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "unknown argument '--chekc'; allowed: --check, --tests" in done.stderr


def bare_machine(
    tmp_path: Path, *, sudo: str | None, present: Sequence[str] = ()
) -> tuple[Path, Path]:
    """Make a PATH that has next to nothing, with an apt-get that tells when it ran.

    Returns scripts/setup as such a machine has it, and the folder of its programs. The user is an
    ordinary one; `sudo` is the script that stands for it; `present` are programs of this machine.
    """
    setup = tmp_path / "scripts" / "setup"
    setup.parent.mkdir()
    # The system folders that setup adds to PATH stand somewhere else here.
    text = (ROOT / "scripts" / "setup").read_text()
    line = 'PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"\n'
    assert text.count(line) == 1
    setup.write_text(text.replace(line, ""))
    setup.chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "sort", "tr", "dirname", *present):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    scripts = {"qemu-img": "", "apt-get": f": >'{tmp_path}/ran'", "id": "echo 1000"}
    if sudo is not None:
        scripts["sudo"] = sudo
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return setup, programs


def run_setup(setup: Path, programs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [setup, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": str(programs)},
    )


def test_setup_names_what_is_missing_without_touching_anything(tmp_path: Path) -> None:
    done = run_setup(*bare_machine(tmp_path, sudo=None), "--check")
    assert done.returncode == 3
    missing = done.stderr.partition("missing packages: ")[2].split()
    assert {"qemu-system-x86", "grub-legacy", "python3-venv"} <= set(missing)
    assert "qemu-utils" not in missing
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="this is not Debian or Ubuntu")
@pytest.mark.parametrize(
    ("sudo", "line"), [(None, "  su -c {}"), ("exit 1  # it would ask a password", "  sudo {}")]
)
def test_setup_that_may_not_install_prints_the_command_to_run(
    tmp_path: Path, sudo: str | None, line: str
) -> None:
    setup, programs = bare_machine(tmp_path, sudo=sudo)
    done = run_setup(setup, programs)
    assert done.returncode == 3
    assert line.format(setup) in done.stderr.splitlines()
    assert not (tmp_path / "ran").exists()


def test_setup_wants_a_browser_and_a_reader_of_isos_only_for_the_tests(tmp_path: Path) -> None:
    machine = bare_machine(tmp_path, sudo=None)
    wanted = {"chromium-driver", "libarchive-tools"}
    assert not wanted & set(run_setup(*machine, "--check").stderr.split())
    done = run_setup(*machine, "--check", "--tests")
    assert done.returncode == 3
    assert wanted | {"qemu-system-x86"} <= set(done.stderr.split())


@pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="this is not Debian or Ubuntu")
@pytest.mark.skipif(shutil.which("python3") is None, reason="python3 is missing")
def test_tests_go_on_without_a_browser_that_may_not_be_installed(tmp_path: Path) -> None:
    setup, programs = bare_machine(tmp_path, sudo="exit 1", present=["grep"])
    # All but what the tests need is there.
    text = setup.read_text()
    table = text.partition("needs='\n")[2].partition("'")[0]
    python = "echo python3-venv\n"
    assert text.count(python) == 1
    setup.write_text(text.replace(table, "").replace(python, "true\n"))
    done = run_setup(setup, programs, "--tests")
    assert done.returncode == 0
    assert "Some tests are skipped: installing" in done.stderr
    assert f"  sudo {setup} --tests" in done.stderr.splitlines()
    assert not (tmp_path / "ran").exists()
