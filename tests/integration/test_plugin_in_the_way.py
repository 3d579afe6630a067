"""The pytest plugin is loaded in every run of an environment: it must not be in anybody's way."""

import os
import subprocess
import sys
from pathlib import Path

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
