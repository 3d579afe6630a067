"""The pytest plugin is loaded in every run of an environment: it must not be in anybody's way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TEST = """
import sys

def test_nothing_heavy_is_loaded(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("imgforge")
    ours = sorted(name for name in sys.modules if name.startswith("imgforge"))
    assert ours == [
        "imgforge", "imgforge.errors", "imgforge.testing", "imgforge.testing.failure",
        "imgforge.testing.marks", "imgforge.testing.plugin",
    ], ours
    assert not {"pydantic", "asyncio", "jinja2"} & set(sys.modules)
"""


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    settings = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    plugins = {**settings, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*command, "-p", "imgforge.testing.plugin", *words],
        cwd=folder,
        env=plugins,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_run_without_an_image_loads_next_to_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    text = _TEST.replace('hasplugin("imgforge")', 'hasplugin("imgforge.testing.plugin")')
    (tmp_path / "test_light.py").write_text(text, encoding="utf-8")
    ended = run_pytest(tmp_path)
    assert ended.returncode == 0, ended.stdout
    left = [path for path in tmp_path.iterdir() if path.name != "__pycache__"]
    assert [path.name for path in left] == ["test_light.py"]


def test_its_options_are_told(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, "--help").stdout
    for option in ("--image", "--evidence", "--rerun-failed", "--quarantine", "--guest-network"):
        assert option in said
    marks = run_pytest(tmp_path, "--markers").stdout
    assert "@pytest.mark.instance_type(name): the machine's hardware" in marks


_MACHINES = """
import pytest


def test_a(machine):
    pass


def test_b(ssh):
    pass


def test_c(shared_machine):
    pass


def test_plain():
    pass
"""


@pytest.mark.parametrize("words", [(), ("-p", "xdist", "-n", "2")])
def test_tests_of_machines_without_an_image_are_refused_once(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(_MACHINES, encoding="utf-8")
    ended = run_pytest(tmp_path, *words)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert lines.count("6 tests need a machine: name an image with --image.") == 1
    assert "1 error in" in ended.stdout.splitlines()[-1]
    assert "passed" not in ended.stdout
    others = run_pytest(tmp_path, *words, "-k", "plain")
    assert others.returncode == 0, others.stdout + others.stderr
    assert run_pytest(tmp_path, *words, "--collect-only").returncode == 0


def test_somebody_elses_fixture_of_our_name_needs_no_image(tmp_path: Path) -> None:
    fixture = "import pytest\n\n@pytest.fixture\ndef machine():\n    return 1\n"
    (tmp_path / "conftest.py").write_text(fixture, encoding="utf-8")
    (tmp_path / "test_it.py").write_text("def test_a(machine):\n    assert machine == 1\n")
    ended = run_pytest(tmp_path)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("words", [(), ("-p", "xdist", "-n", "2")])
def test_marks_that_cannot_be_meant_are_refused_once(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    text = (
        "import pytest\n\n"
        "@pytest.mark.user_dta('x')\ndef test_a(machine):\n    pass\n\n"
        "@pytest.mark.instance_type('x9.huge')\ndef test_b(machine):\n    pass\n\n"
        "@pytest.mark.user_data('x')\ndef test_c(shared_machine):\n    pass\n\n"
        "@pytest.mark.user_data('x')\ndef test_d(machine, shared_machine):\n    pass\n"
    )
    (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
    (tmp_path / "disk.raw").write_bytes(bytes(2**20))
    ended = run_pytest(tmp_path, "--image", "disk.raw", *words)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    for told in (
        "test_it.py::test_a: there is no mark user_dta; do you mean user_data?",
        "test_it.py::test_b: Mark instance_type('x9.huge') is none of",
        "test_it.py::test_c: shared_machine is as it is for all tests, so user_data would do",
    ):
        errors = ended.stdout.partition("short test summary")[0]
        found = [line for line in errors.splitlines() if line.startswith(told)]
        assert len(found) == 1, ended.stdout
    assert "test_d" not in ended.stdout


def test_a_file_for_the_evidence_is_a_wrong_option(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_a(machine):\n    pass\n", encoding="utf-8")
    (tmp_path / "disk.raw").write_bytes(bytes(2**20))
    ended = run_pytest(tmp_path, "--image", "disk.raw", "--evidence", "test_it.py")
    assert ended.returncode == 4
    assert "test_it.py: is a file.\nName another one with --evidence." in ended.stderr
    assert "INTERNAL" not in ended.stdout + ended.stderr


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_a(machine):\n    pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:imgforge"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "fixture 'machine' not found" in ended.stdout
    assert "imgforge" not in ended.stdout
