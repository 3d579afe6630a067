"""`imgforge cache` by its real command line: holders, rivals and kills."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from imgforge.cache import make_room
from imgforge.inventory import CacheKind, take_inventory
from imgforge.rootfs import probe_host
from imgforge.usage import in_use

FILES = 20
HOLD = """
    import sys
    from pathlib import Path
    from imgforge.usage import in_use
    with in_use(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()
"""
RECIPE = """
name = "small"
[rootfs.source]
kind = "folder"
path = "root"
[disk]
layouts = ["pv"]
[[boot.entries]]
title = "small"
kernel = "/boot/vmlinuz"
command_line = "root=LABEL=root"
[image]
name = "small"
"""


def key(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def add_frozen(cache: Path, name: str, *, age_s: float = 0, size: int = 2**20) -> Path:
    folder = cache / "frozen" / name
    folder.mkdir(parents=True)
    (folder / "memory").write_bytes(b"x" * size)
    facts = {"disk": name, "instance_type": "t2.nano", "created": "now", "qemu_version": "7.2"}
    (folder / "frozen.json").write_text(json.dumps(facts))
    os.utime(folder, (time.time() - age_s,) * 2)
    return folder


def add_tree(cache: Path, number: int) -> Path:
    folder = cache / "rootfs" / key(number)
    (folder / "tree").mkdir(parents=True)
    for name in range(FILES):
        (folder / "tree" / str(name)).write_bytes(b"x" * 4096)
    (folder / "rootfs.json").write_text('{"recipe": "minimal"}')
    (cache / "rootfs" / "locks" / key(number)).mkdir(parents=True)
    return folder


def command(cache: Path, *words: str, path: str = "") -> tuple[list[str], dict[str, str]]:
    environment = {**os.environ, "IMGFORGE_CACHE": str(cache)}
    environment["PATH"] = path + environment["PATH"]
    return [sys.executable, "-m", "imgforge", "cache", *words], environment


def imgforge(cache: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    line, environment = command(cache, *words)
    return subprocess.run(
        line, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def pruned(cache: Path, *words: str) -> dict[str, Any]:
    ended = imgforge(cache, "prune", "--json", *words)
    assert ended.returncode == 0, ended.stderr
    content: dict[str, Any] = json.loads(ended.stdout)
    return content


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    end_s = time.monotonic() + 30
    while not path.exists():
        if process.poll() is not None:
            pytest.fail(f"it ended before {path.name}: {process.communicate()}")
        assert time.monotonic() < end_s
        time.sleep(0.01)


def left(cache: Path) -> set[str]:
    return {str(item.path.relative_to(cache)) for item in take_inventory(cache)}


def test_the_cache_is_listed_for_people_and_for_programs(cache: Path) -> None:
    assert "nothing in" in imgforge(cache, "ls").stdout
    assert json.loads(imgforge(cache, "ls", "--json").stdout) == []
    add_frozen(cache, "a")
    add_tree(cache, 1)
    shown = imgforge(cache, "ls").stdout
    assert "a on t2.nano, QEMU 7.2, now" in shown
    assert key(1)[:12] in shown
    [only] = json.loads(imgforge(cache, "ls", "--json", "--kind", "frozen").stdout)
    assert only["kind"] == "frozen"
    assert only["path"] == str(cache / "frozen" / "a")
    assert only["in_use"] is False
    assert only["size_bytes"] >= 2**20
    assert only["last_used"].endswith("+00:00")


def test_a_dry_run_removes_nothing(cache: Path) -> None:
    add_frozen(cache, "a")
    told = pruned(cache, "--all", "--dry-run")
    assert [item["kind"] for item in told["removed"]] == ["frozen"]
    assert told["dry_run"] is True
    assert left(cache) == {"frozen/a"}
    assert "would free 1.0 MiB" in imgforge(cache, "prune", "--all", "--dry-run").stdout


def test_the_oldest_go_down_to_the_size_and_all_goes_with_all(cache: Path) -> None:
    for age, name in enumerate("abc"):
        add_frozen(cache, name, age_s=age * 86400)
    add_tree(cache, 1)
    told = pruned(cache, "--kind", "frozen", "--max-size", "2200K")
    assert [item["what"][0] for item in told["removed"]] == ["c"]
    assert told["freed_bytes"] >= 2**20
    assert pruned(cache, "--older-than", "12h")["removed"][0]["path"].endswith("/frozen/b")
    assert left(cache) == {"frozen/a", f"rootfs/{key(1)}"}
    pruned(cache, "--all")
    assert left(cache) == set()
    assert list((cache / "rootfs" / "locks").iterdir()) == []
    assert list(cache.rglob(".imgforge-aside-*")) == []


def test_without_limits_frozen_machines_go_beyond_theirs(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_frozen(cache, "a", age_s=10)
    add_frozen(cache, "b")
    add_tree(cache, 1)
    pruned(cache)
    assert len(left(cache)) == 3
    monkeypatch.setenv("IMGFORGE_FROZEN_LIMIT", "1200K")
    pruned(cache)
    assert left(cache) == {"frozen/b", f"rootfs/{key(1)}"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--older-than", "soon"], "--older-than soon: an age is a whole number"),
        (["--max-size", "-1"], "--max-size -1: a size is a whole number"),
        (["--all", "--older-than", "1d"], "--all takes neither"),
        (["--kind", "images"], "'images' is not one of"),
    ],
)
def test_what_is_typed_wrongly_is_told(cache: Path, words: list[str], told: str) -> None:
    add_frozen(cache, "a")
    ended = imgforge(cache, "prune", *words)
    assert ended.returncode == 2
    assert told in ended.stderr
    assert left(cache) == {"frozen/a"}


def test_what_another_process_uses_stays_until_it_is_killed(cache: Path) -> None:
    folder = add_frozen(cache, "a")
    line = [sys.executable, "-c", textwrap.dedent(HOLD), str(folder)]
    holder = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    [listed] = json.loads(imgforge(cache, "ls", "--json").stdout)
    assert listed["in_use"] is True
    ended = imgforge(cache, "prune", "--all")
    assert "kept 1, 1.0 MiB, in use" in ended.stdout
    assert (folder / "memory").stat().st_size == 2**20
    holder.kill()
    holder.communicate(timeout=20)
    pruned(cache, "--all")
    assert left(cache) == set()


def test_while_a_build_runs_only_frozen_machines_go(cache: Path) -> None:
    add_frozen(cache, "a")
    add_tree(cache, 1)
    with in_use(cache):
        told = pruned(cache, "--all")
    assert [item["kind"] for item in told["removed"]] == ["frozen"]
    assert [item["kind"] for item in told["in_use"]] == ["rootfs"]
    assert left(cache) == {f"rootfs/{key(1)}"}


def test_a_build_keeps_the_tree_it_reads(cache: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mke2fs").write_text(f"#!/bin/sh\necho x >{tmp_path}/started\nexec sleep 60\n")
    (programs / "mke2fs").chmod(0o755)
    (tmp_path / "root" / "boot").mkdir(parents=True)
    (tmp_path / "root" / "boot" / "vmlinuz").write_bytes(b"kernel")
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    _, environment = command(cache, path=f"{programs}:")
    line = [sys.executable, "-m", "imgforge", "build", str(recipe), "--out", str(tmp_path)]
    building = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "started", building)
    told = pruned(cache, "--all")
    assert [item["what"] for item in told["in_use"]] == ["small"]
    assert told["removed"] == []
    building.terminate()
    building.communicate(timeout=20)
    assert [item["what"] for item in pruned(cache, "--all")["removed"]] == ["small"]


def test_two_prunes_at_once_remove_everything_once(cache: Path) -> None:
    for number in range(100):
        add_tree(cache, number)
    line, environment = command(cache, "prune", "--all", "--json")
    rivals = [
        subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [json.loads(rival.communicate(timeout=60)[0]) for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0, 0]
    pruned(cache, "--all")  # one may have found the other at work
    removed = [item["path"] for content in told for item in content["removed"]]
    assert len(removed) == len(set(removed))
    assert left(cache) == set()
    assert list(cache.rglob(".imgforge-aside-*")) == []


def test_a_killed_prune_leaves_nothing_that_looks_whole(cache: Path, tmp_path: Path) -> None:
    for number in range(3):
        add_tree(cache, number)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "rm").write_text(f"#!/bin/sh\necho x >{tmp_path}/started\nexec sleep 60\n")
    (programs / "rm").chmod(0o755)
    line, environment = command(cache, "prune", "--all", path=f"{programs}:")
    killed = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "started", killed)
    killed.kill()
    killed.communicate(timeout=20)
    items = take_inventory(cache)
    assert [item.kind for item in items] == [CacheKind.LEFTOVER]
    assert items[0].size_bytes >= 3 * FILES * 4096
    told = pruned(cache)
    assert [item["kind"] for item in told["removed"]] == ["leftover"]
    assert list(cache.rglob(".imgforge-aside-*")) == []


@pytest.mark.parametrize("delay_s", [0.25, 0.3, 0.35, 0.4])
def test_a_prune_killed_at_any_time_leaves_each_tree_whole_or_none(
    cache: Path, delay_s: float
) -> None:
    for number in range(100):
        add_tree(cache, number)
    line, environment = command(cache, "prune", "--all")
    killed = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL)
    time.sleep(delay_s)
    killed.kill()
    killed.wait(20)
    for item in take_inventory(cache, kinds=[CacheKind.ROOTFS]):
        assert len(list((item.path / "tree").iterdir())) == FILES
        assert (item.path / "rootfs.json").exists()
    pruned(cache, "--all")
    assert left(cache) == set()


def test_a_garbage_cache_is_pruned_and_what_links_point_to_stays(
    cache: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (cache / "rootfs").mkdir()
    (cache / "rootfs" / key(1)).write_text("a file")
    (cache / "rootfs" / key(2)).symlink_to(outside)
    (cache / "rootfs" / key(3)).mkdir()
    (cache / "rootfs" / key(3) / "out").symlink_to(outside)
    (cache / "bases").mkdir()
    (cache / "bases" / f"{key(1)}.tar").mkdir()
    (cache / "frozen" / "x").mkdir(parents=True)
    os.mkfifo(cache / "frozen" / "x" / "frozen.json")
    (cache / "packages").symlink_to(outside)
    (cache / "apt").touch()
    (cache / "notes\n\x1b[31m").touch()
    listed = imgforge(cache, "ls")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "\x1b" not in listed.stdout
    told = pruned(cache, "--all")
    assert len(told["removed"]) == 5
    assert left(cache) == {"packages", "apt", "notes\n\x1b[31m"}
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_folders_that_may_not_be_written_go_too(cache: Path) -> None:
    folder = add_tree(cache, 1)
    (folder / "tree" / "deep").mkdir()
    (folder / "tree" / "deep" / "file").touch()
    (folder / "tree" / "deep").chmod(0o000)
    (folder / "tree").chmod(0o555)
    told = pruned(cache, "--all")
    assert (len(told["removed"]), told["failed"]) == (1, [])
    assert list(cache.rglob(".imgforge-aside-*")) == []


@pytest.mark.skipif(
    os.geteuid() == 0 or bool(probe_host().user_namespace),
    reason="needs an ordinary user with subordinate ids",
)
def test_what_subordinate_users_own_goes_too(cache: Path) -> None:
    folder = add_frozen(cache, "a")
    script = f"mkdir {folder}/d && touch {folder}/d/f && chmod 700 {folder}/d && chown -R 1:1 $0"
    subprocess.run(
        ["unshare", "--user", "--map-auto", "--map-root-user", "sh", "-c", script, folder / "d"],
        check=True,
        timeout=30,
    )
    told = pruned(cache, "--all")
    assert (len(told["removed"]), told["failed"]) == (1, [])
    assert list(cache.rglob(".imgforge-aside-*")) == []


def test_room_is_made_for_a_new_frozen_machine(cache: Path) -> None:
    for age, name in enumerate("abcd"):
        add_frozen(cache, name, age_s=age)
    with in_use(cache / "frozen" / "d"):
        made = make_room(cache / "frozen", 2 * 2**20 + 2**18)
    assert [item.path.name for item in made.removed] == ["c", "b"]
    assert [item.path.name for item in made.in_use] == ["d"]
    assert left(cache) == {"frozen/a", "frozen/d"}
    make_room(cache / "frozen", 0)
    assert left(cache) == {"frozen/a"}, "the last one used was just made"
    assert make_room(cache / "none" / "frozen").removed == ()
