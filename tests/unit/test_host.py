"""The environment and the machine."""

import os
import pwd
from pathlib import Path

import pytest

from imgforge import host

SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("XDG_", "IMGFORGE_")) or name in {"NO_COLOR", "TMPDIR"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/someone")


def test_folders_follow_the_xdg_defaults() -> None:
    assert host.cache_dir() == Path("/home/someone/.cache/imgforge")
    assert host.data_dir() == Path("/home/someone/.local/share/imgforge")


def test_folders_follow_the_xdg_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    assert host.cache_dir() == Path("/c/imgforge")
    assert host.data_dir() == Path("/d/imgforge")


@pytest.mark.parametrize("value", ["", "relative/folder", "."])
def test_xdg_folders_that_are_not_absolute_are_ignored(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("XDG_DATA_HOME", value)
    assert host.cache_dir() == Path("/home/someone/.cache/imgforge")
    assert host.data_dir() == Path("/home/someone/.local/share/imgforge")


def test_our_own_variable_goes_before_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    monkeypatch.setenv("IMGFORGE_CACHE", "/own")
    assert host.cache_dir() == Path("/own")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMGFORGE_CACHE", "here")
    assert host.cache_dir() == tmp_path / "here"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_home_variable_the_password_database_tells(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", value)
    assert host.home_dir() == Path(pwd.getpwuid(os.getuid()).pw_dir)


def test_sockets_stand_in_the_runtime_folder_where_it_is_short_and_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/shm")
    assert host.runtime_parent() == Path("/dev/shm")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    assert host.runtime_parent() != Path("/nowhere")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "shm")
    assert host.runtime_parent().is_absolute()


def test_the_path_ends_with_the_system_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/own:/usr/bin::")
    assert host.search_path() == "/own:/usr/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/bin"
    monkeypatch.delenv("PATH")
    assert host.search_path() == SYSTEM


def test_a_child_is_told_only_what_cannot_change_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    told = host.child_environment()
    assert (told["LC_ALL"], told["TZ"]) == ("C.UTF-8", "UTC")
    assert told["https_proxy"] == "http://proxy:1"
    assert "SECRET" not in told


@pytest.mark.parametrize(("value", "wanted"), [(None, True), ("", True), ("1", False)])
def test_no_color_counts_when_it_is_not_empty(
    monkeypatch: pytest.MonkeyPatch, value: str | None, wanted: bool
) -> None:
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert host.wants_color() is wanted


def test_memory_disk_and_processors_are_plausible(tmp_path: Path) -> None:
    memory = host.memory()
    assert 0 < memory.available_bytes <= memory.total_bytes
    assert host.free_disk_bytes(tmp_path / "not" / "there") == host.free_disk_bytes(tmp_path) > 0
    assert host.cpu_count() >= 1
    assert host.kernel_release()
    assert host.is_root() == (os.geteuid() == 0)


@pytest.mark.parametrize(
    ("value", "path"), [("/a/summary.md", Path("/a/summary.md")), ("", None), ("a.md", None)]
)
def test_a_step_summary_is_wanted_where_github_names_its_file(
    monkeypatch: pytest.MonkeyPatch, value: str, path: Path | None
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", value)
    assert host.step_summary() == path


def test_the_wait_for_a_processor_is_that_of_the_neediest_thread(tmp_path: Path) -> None:
    for thread, account in {
        "7": "5000000000 250000000 3",
        "8": "1 1500000000 2",
        "9": "odd",
    }.items():
        folder = tmp_path / "7/task" / thread
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(account)
    assert host.waited_s(7, proc=tmp_path) == 1.5
    assert host.waited_s(8, proc=tmp_path) == 0
    assert host.waited_s(os.getpid()) >= 0
