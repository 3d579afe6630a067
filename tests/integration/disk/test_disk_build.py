import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from imgforge.command import Setting, Streams, run
from imgforge.disk import build_disk, disk_sha256, open_disk
from imgforge.errors import BadInputError, CommandError, HostError, MissingProgramError
from imgforge.recipe import Layout, RecipeFile
from imgforge.rootfs import EntryKind, Rootfs, TreeEntry
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import write_index
from tests.volume_material import see_disk, see_folder

MakeRecipe = Callable[..., RecipeFile]
ROOT_OFFSETS = {Layout.HVM_MBR: 2048, Layout.HVM_GPT: 4096, Layout.PV: 0, Layout.PV_PART: 2048}


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def ask_debugfs(disk: Path, layout: Layout, request: str) -> str:
    place = f"{disk}?offset={ROOT_OFFSETS[layout] * 512}"
    return run("debugfs", ["-R", request, place]).stdout.decode(errors="replace")


@pytest.mark.parametrize("layout", list(Layout))
def test_the_image_holds_what_the_index_says(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, layout: Layout
) -> None:
    disk = build_disk(rootfs, recipe(), layout=layout, destination=tmp_path / "a.raw")
    wanted = {entry.path: entry for entry in rootfs.entries()}
    for path in ("etc/shadow", "many", "etc/old", "dev/null", "dev/large", "usr/link", "."):
        entry = wanted[path]
        shown = ask_debugfs(disk.path, layout, f"stat /{path}")
        assert f"User: {entry.uid:5d}   Group: {entry.gid:5d}" in shown
        assert f"Mode:  0{entry.mode:03o}" in shown
    assert "Device major/minor number: 259:70000" in ask_debugfs(
        disk.path, layout, "stat /dev/large"
    )
    assert "character special" in ask_debugfs(disk.path, layout, "stat /dev/null")
    assert "security.capability (20)" in ask_debugfs(disk.path, layout, "ea_list /usr/ping")
    assert "trusted.t" in ask_debugfs(disk.path, layout, "ea_list /usr/two")
    assert "Links: 2" in ask_debugfs(disk.path, layout, "stat /etc/hard-two")
    menu = ask_debugfs(disk.path, layout, "cat /boot/grub/menu.lst")
    root = "(hd0)" if layout is Layout.PV else "(hd0,0)"
    assert f"root {root}\nkernel /boot/vmlinuz-6.1-test root=LABEL=root ro\n" in menu
    assert "initrd /boot/initrd-6.1-test" in menu
    assert ("serial" in menu) is not layout.is_pv
    assert "stage2" in ask_debugfs(disk.path, layout, "ls /boot/grub") or layout.is_pv


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4", "xfs"])
def test_grub_legacy_reads_the_file_system(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, kind: str
) -> None:
    if kind == "xfs":
        write_index(rootfs.index, [replace(entry, xattrs={}) for entry in rootfs.entries()])
    disk = build_disk(
        rootfs, recipe(filesystem=kind), layout=Layout.HVM_MBR, destination=tmp_path / "a.raw"
    )
    commands = f"device (hd0) {disk.path.name}\nroot (hd0,0)\ncat /boot/grub/menu.lst\nquit\n"
    said = run(
        "grub",
        ["--batch", "--no-floppy", "--device-map=/dev/null"],
        streams=Streams(stdin=commands.encode()),
        setting=Setting(cwd=tmp_path),
    ).stdout
    assert b"kernel /boot/vmlinuz-6.1-test root=LABEL=root ro" in said
    head = disk.path.read_bytes()[: 40 * 512]
    assert b"GRUB" in head[:512]
    assert b"/boot/grub/stage2" in head[512:]


def plain_tree(folder: Path) -> Rootfs:
    """What a prototype file of mkfs.xfs can express."""
    tree = folder / "tree"
    (tree / "boot").mkdir(parents=True)
    (tree / "tmp").mkdir()
    (tree / "boot/vmlinuz-6.1-test").write_bytes(b"MZ" * 300)
    (tree / "boot/initrd-6.1-test").write_bytes(b"i" * 5000)
    (tree / "null").touch()
    entries = [
        TreeEntry(".", EntryKind.DIRECTORY, 0o755, 0, 0, 1000),
        TreeEntry("boot", EntryKind.DIRECTORY, 0o755, 0, 0, 1000),
        TreeEntry("boot/vmlinuz-6.1-test", EntryKind.FILE, 0o644, 0, 0, 1000),
        TreeEntry("boot/initrd-6.1-test", EntryKind.FILE, 0o600, 5, 6, 1000),
        TreeEntry("null", EntryKind.CHARACTER_DEVICE, 0o666, 0, 0, 1000, (1, 3)),
        TreeEntry("tmp", EntryKind.DIRECTORY, 0o1777, 0, 0, 1_600_000_000),
    ]
    write_index(folder / "index", entries)
    return Rootfs(tree, folder / "index", "f" * 64, "", 5600)


def test_xfs_keeps_modes_owners_and_times(tmp_path: Path, recipe: MakeRecipe) -> None:
    disk = build_disk(
        plain_tree(tmp_path / "plain"),
        recipe(filesystem="xfs"),
        layout=Layout.PV,
        destination=tmp_path / "x.raw",
    )
    requests = ["-c", "path /tmp", "-c", "p core.mode", "-c", "p core.mtime.sec"]
    requests += ["-c", "path /boot/initrd-6.1-test", "-c", "p core.uid core.gid"]
    shown = run("xfs_db", ["-r", *requests, disk.path]).stdout.decode()
    assert "core.mode = 041777" in shown
    assert "core.mtime.sec = Sun Sep 13 12:26:40 2020" in shown
    assert "core.uid = 5" in shown
    assert run("xfs_repair", ["-n", "-f", disk.path]).exit_code == 0


def test_xfs_holds_what_a_prototype_file_cannot_say(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    """All but an empty attribute, and times beyond 2038, which version 4 has not."""
    with pytest.raises(BadInputError, match=r"/usr/two: .* the empty extended attribute user\.a"):
        build_disk(
            rootfs, recipe(filesystem="xfs"), layout=Layout.PV, destination=tmp_path / "no.raw"
        )
    entries = [
        replace(
            entry,
            xattrs={name: value for name, value in entry.xattrs.items() if value},
            mtime_s=min(entry.mtime_s, 2**31 - 1),
        )
        for entry in rootfs.entries()
    ]
    write_index(rootfs.index, entries)
    disk = build_disk(
        rootfs, recipe(filesystem="xfs"), layout=Layout.PV, destination=tmp_path / "x.raw"
    )
    assert run("xfs_repair", ["-n", "-f", disk.path]).exit_code == 0
    seen, plain = see_disk(disk.path), see_folder(rootfs.tree)
    for entry in entries:
        made, there = seen[entry.path], plain[entry.path]
        assert (made.entry, made.target) == (entry, there.target)
        if entry.kind is EntryKind.FILE:
            assert (made.content, made.links) == (there.content, there.links)
    assert len(seen) == len(entries) + 2  # /boot/grub and its menu.lst


def test_a_disk_keeps_its_holes(tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe) -> None:
    disk = build_disk(
        rootfs, recipe(size="2G"), layout=Layout.HVM_MBR, destination=tmp_path / "a.raw"
    )
    assert disk.size_bytes == 2 * 2**30
    assert disk.path.stat().st_blocks * 512 < 20 * 2**20
    assert disk.path.stat().st_mode & 0o777 == 0o644


def test_an_unchanged_input_returns_at_once(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    first = build_disk(rootfs, recipe(), layout=Layout.PV, destination=tmp_path / "a.raw")
    before = first.path.stat()
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert build_disk(rootfs, recipe(), layout=Layout.PV, destination=first.path) == first
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.02
    assert first.path.stat() == before


@pytest.mark.parametrize("damage", ["content", "times", "record", "gone"])
def test_a_touched_disk_is_built_again(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, damage: str
) -> None:
    first = build_disk(rootfs, recipe(), layout=Layout.PV, destination=tmp_path / "a.raw")
    match damage:
        case "content":
            with first.path.open("r+b") as file:
                file.seek(5000)
                file.write(b"changed")
        case "times":
            os.utime(first.path)
        case "record":
            (tmp_path / "a.disk.json").write_text("{not json")
        case _:
            first.path.unlink()
    assert build_disk(rootfs, recipe(), layout=Layout.PV, destination=first.path) == first
    assert disk_sha256(first.path) == first.sha256
    assert leftovers(tmp_path) == ["a.disk.json", "a.raw", "rootfs"]


def test_the_record_holds_what_others_build_on(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    disk = build_disk(rootfs, recipe(), layout=Layout.PV_PART, destination=tmp_path / "a.raw")
    record = json.loads((tmp_path / "a.disk.json").read_text())
    assert record["schema"] == 1
    assert record["disk"] == "a.raw"
    assert record["sha256"] == disk.sha256
    assert record["layout"] == "pv-part"
    assert record["recipe_sha256"] == recipe().recipe.sha256
    assert open_disk(disk.path) == disk


def test_a_disk_too_small_is_refused_before_building(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    (rootfs.tree / "usr/two").write_bytes(os.urandom(2**20) * 40)
    large = Rootfs(rootfs.tree, rootfs.index, "e" * 64, "", 41 * 2**20)
    with pytest.raises(BadInputError) as caught:
        build_disk(large, recipe(size="24M"), layout=Layout.HVM_MBR, destination=tmp_path / "a.raw")
    message = str(caught.value)
    assert message.startswith(
        "Recipe test.toml: the root file system needs 41 MiB, the disk leaves"
    )
    assert message.endswith("Raise disk.size to 256 MiB.")
    assert leftovers(tmp_path) == ["rootfs"]


def test_a_disk_that_mke2fs_finds_too_small_is_refused(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    (rootfs.tree / "usr/two").write_bytes(os.urandom(2**20) * 30)
    understated = Rootfs(rootfs.tree, rootfs.index, "e" * 64, "", 2**20)
    with pytest.raises(BadInputError, match=r"Raise disk\.size to"):
        build_disk(
            understated, recipe(size="24M"), layout=Layout.PV, destination=tmp_path / "a.raw"
        )
    assert leftovers(tmp_path) == ["rootfs"]


@pytest.mark.parametrize("size", ["512", "1M", "2M"])
def test_a_disk_of_almost_nothing_is_refused(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, size: str
) -> None:
    for layout in Layout:
        with pytest.raises(BadInputError, match=r"Raise disk\.size"):
            build_disk(rootfs, recipe(size=size), layout=layout, destination=tmp_path / "a.raw")


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    if (
        not mounted
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False
        ).returncode
    ):
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("layout", [Layout.HVM_MBR, Layout.PV])
def test_a_full_host_disk_names_folder_and_bytes_and_leaves_nothing(
    small_tmpfs: Path, rootfs: Rootfs, recipe: MakeRecipe, layout: Layout
) -> None:
    (rootfs.tree / "usr/two").write_bytes(os.urandom(2**20) * 4)
    for stated in (5 * 2**20, 2**20):  # found before building, and by mke2fs
        tree = Rootfs(rootfs.tree, rootfs.index, "e" * 64, "", stated)
        with pytest.raises(HostError, match=r"MiB are free") as caught:
            build_disk(tree, recipe(), layout=layout, destination=small_tmpfs / "a.raw")
        assert str(small_tmpfs) in str(caught.value)
        assert leftovers(small_tmpfs) == []


def boot_values(kernel: str, **more: Any) -> dict[str, Any]:
    return {"entries": [{"title": "t", "kernel": kernel, "command_line": "", **more}]}


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("/boot/bzImage-*", "/boot/bzImage-*: no file matches; /boot holds initrd-6.1-test, vml"),
        ("/boot/*-6.1-test", "several files match: /boot/initrd-6.1-test, /boot/vmlinuz-6.1-test"),
        ("/nowhere/vmlinuz", "there is no folder /nowhere"),
        ("/usr/lib*", "no file matches; /usr holds"),
        ("/boot", "/boot is no file"),
        ("/usr/long-link", f"/usr/long-link is a symlink to '/etc/{'x' * 100}', which leads to no"),
        ("/usr/long-*", "/usr/long-link is a symlink to '/etc/xxx"),
        ("/usr/no-link", "no file matches; /usr holds"),
    ],
)
def test_a_kernel_that_is_not_one_file_is_refused(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, kernel: str, message: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        build_disk(
            rootfs,
            with_boot(recipe(), kernel),
            layout=Layout.PV,
            destination=tmp_path / "a.raw",
        )
    assert "Recipe test.toml: boot.entries[0].kernel: " in str(caught.value)
    assert message in str(caught.value)


def with_boot(recipe_file: RecipeFile, kernel: str) -> RecipeFile:
    values = recipe_file.recipe.model_dump(mode="json") | {"boot": boot_values(kernel)}
    recipe = type(recipe_file.recipe).model_validate_json(json.dumps(values))
    return RecipeFile(path=recipe_file.path, recipe=recipe)


def test_a_symlinked_kernel_is_named_by_its_file(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    disk = build_disk(
        rootfs, with_boot(recipe(), "/usr/lin?"), layout=Layout.PV, destination=tmp_path / "a.raw"
    )
    assert "kernel /usr/ping\n" in ask_debugfs(disk.path, Layout.PV, "cat /boot/grub/menu.lst")


def test_an_own_menu_in_the_tree_gives_way(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    (rootfs.tree / "boot/grub").mkdir()
    (rootfs.tree / "boot/grub/menu.lst").write_text("title theirs\n")
    (rootfs.tree / "boot/grub/stage1").symlink_to("nowhere")
    entries = [
        *rootfs.entries(),
        TreeEntry("boot/grub", EntryKind.DIRECTORY, 0o700, 7, 8, 5),
        TreeEntry("boot/grub/menu.lst", EntryKind.FILE, 0o600, 7, 8, 5),
        TreeEntry("boot/grub/stage1", EntryKind.SYMLINK, 0o777, 7, 8, 5),
    ]
    write_index(rootfs.index, entries)
    disk = build_disk(rootfs, recipe(), layout=Layout.HVM_MBR, destination=tmp_path / "a.raw")
    assert "title test" in ask_debugfs(disk.path, Layout.HVM_MBR, "cat /boot/grub/menu.lst")
    assert "Mode:  0644" in ask_debugfs(disk.path, Layout.HVM_MBR, "stat /boot/grub/menu.lst")
    assert "regular" in ask_debugfs(disk.path, Layout.HVM_MBR, "stat /boot/grub/stage1")
    place = f"{disk.path}?offset={2**20}"
    assert run("e2fsck", ["-fn", place], accepted_exit_codes=range(99)).exit_code == 0
    assert (rootfs.tree / "boot/grub/menu.lst").read_text() == "title theirs\n"


@pytest.mark.parametrize("layout", [Layout.PV, Layout.HVM_MBR])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize(
    ("path", "made", "message"),
    [
        ("boot/grub/menu.lst", "folder", "/boot/grub/menu.lst is a folder; a file"),
        ("boot/grub", "link", "/boot/grub is a symlink to '/usr'; it must be a folder"),
        ("boot/grub", "file", "/boot/grub is no folder; it must be a folder"),
        ("boot", "link", "/boot is a symlink to '/usr'; it must be a folder"),
    ],
)
def test_what_stands_in_the_boot_loaders_way_is_named(
    tmp_path: Path,
    rootfs: Rootfs,
    recipe: MakeRecipe,
    layout: Layout,
    kind: str,
    path: str,
    made: str,
    message: str,
) -> None:
    obstruct(rootfs.tree / path, made)
    with pytest.raises(BadInputError, match=re.escape(message)) as caught:
        build_disk(rootfs, recipe(filesystem=kind), layout=layout, destination=tmp_path / "a.raw")
    assert caught.value.hint
    assert leftovers(tmp_path) == ["rootfs"]


@pytest.mark.parametrize("made", ["file", "link"])
def test_lost_and_found_that_is_no_folder_is_a_clash_of_names(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe, made: str
) -> None:
    obstruct(rootfs.tree / "lost+found", made)
    with pytest.raises(BadInputError, match=r"/lost\+found is .*on ext4 a folder of that name"):
        build_disk(rootfs, recipe(), layout=Layout.PV, destination=tmp_path / "a.raw")


def obstruct(path: Path, made: str) -> None:
    if path.is_dir():
        path.rename(path.with_name("elsewhere"))
    path.parent.mkdir(exist_ok=True, parents=True)
    if made == "folder":
        path.mkdir()
    elif made == "link":
        path.symlink_to("/usr")
    else:
        path.touch()


@pytest.mark.parametrize("path", ["d/" * 255 + "f", f"{'e' * 199}/" * 9 + "f" * 200])
def test_mke2fs_takes_the_deepest_and_the_longest_path_of_a_tree(
    tmp_path: Path, recipe: MakeRecipe, path: str
) -> None:
    tree = PlainTree(tmp_path / "tree", origin="x", mtime_s=7)
    for name in (path, "k"):
        tree.add_file(TreeEntry(name, EntryKind.FILE, 0o644, 0, 0, 7), BytesIO(b"x"))
    sha256, content_bytes = tree.finish(tmp_path / "index")
    rootfs = Rootfs(tree.folder, tmp_path / "index", sha256, "", content_bytes)
    disk = build_disk(
        rootfs, with_boot(recipe(), "/k"), layout=Layout.PV, destination=tmp_path / "a.raw"
    )
    assert run("e2fsck", ["-fn", disk.path], accepted_exit_codes=range(99)).exit_code == 0


def test_a_tree_that_is_not_its_index_is_the_hosts_failure(
    tmp_path: Path, rootfs: Rootfs, recipe: MakeRecipe
) -> None:
    (rootfs.tree / "etc/stranger").touch()
    with pytest.raises(HostError, match="'etc/stranger' is in the tree only"):
        build_disk(rootfs, recipe(), layout=Layout.PV, destination=tmp_path / "a.raw")
    (rootfs.tree / "etc/stranger").unlink()
    (rootfs.tree / "etc/shadow").unlink()
    with pytest.raises(HostError, match="'etc/shadow' is in the index only"):
        build_disk(rootfs, recipe(), layout=Layout.PV, destination=tmp_path / "a.raw")
    assert leftovers(tmp_path) == ["rootfs"]


@pytest.mark.parametrize("program", ["mke2fs", "sfdisk", "grub", "debugfs"])
def test_a_program_that_fails_leaves_no_disk(
    tmp_path: Path,
    rootfs: Rootfs,
    recipe: MakeRecipe,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
) -> None:
    fake = tmp_path / "bin" / program
    fake.parent.mkdir()
    said = (
        "echo 'Error 15: File not found'" if program == "grub" else "echo banner >&2; echo no >&2"
    )
    ended = "exit 0" if program in {"grub", "debugfs"} else "exit 1"
    fake.write_text(f"#!/bin/sh\ncat >/dev/null\n{said}\n{ended}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(HostError) as caught:
        build_disk(rootfs, recipe(), layout=Layout.HVM_MBR, destination=tmp_path / "a.raw")
    assert not isinstance(caught.value, MissingProgramError)
    if program == "grub":
        assert "error 15: File not found" in str(caught.value)
    else:
        assert isinstance(caught.value, CommandError)
    assert leftovers(tmp_path) == ["bin", "rootfs"]
