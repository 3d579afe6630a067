"""Building a disk from a cached tree, against the bare programs with the same tree and options."""

import shlex
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, by_turns, seconds
from benchmarks.product import imgforge
from imgforge import host
from imgforge.command import Setting, run
from imgforge.disk import build_disk
from imgforge.disk.filesystem import FilesystemSpec, mke2fs_arguments
from imgforge.disk.grub import find_stages
from imgforge.disk.menu import format_menu, resolve_entries
from imgforge.disk.plan import Content, DiskPlan, plan_disk
from imgforge.recipe import Layout, RecipeFile
from imgforge.recipe_file import load_recipe
from imgforge.rootfs import Rootfs, prepare_rootfs

_LAYOUT = Layout.HVM_MBR


def measure_build(recipe: Path, *, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure a build with a fresh destination, an unchanged one, and both without Python's start.

    The bare sequence is a shell script: truncate, mke2fs -d, sfdisk, grub --batch, and OpenSSL's
    SHA-256 of the whole file (coreutils' own takes thrice its time).
    """
    loaded = load_recipe(recipe)
    imgforge("build", recipe, "--layout", _LAYOUT, "--out", scratch / "kept", scratch=scratch)
    rootfs = prepare_rootfs(loaded, cache=host.cache_dir(), locked=False)
    script = _write_bare_sequence(loaded, rootfs, scratch / "bare")
    fresh = scratch / "fresh"

    def bare() -> float:
        (script.parent / "disk.raw").unlink(missing_ok=True)
        return run("sh", [script], setting=Setting(cwd=script.parent)).seconds

    def build_fresh() -> float:
        shutil.rmtree(fresh, ignore_errors=True)
        return imgforge("build", recipe, "--layout", _LAYOUT, "--out", fresh, scratch=scratch)

    def build_unchanged() -> float:
        kept = scratch / "kept"
        return imgforge("build", recipe, "--layout", _LAYOUT, "--out", kept, scratch=scratch)

    def build_within() -> float:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        return seconds(
            lambda: build_disk(rootfs, loaded, layout=_LAYOUT, destination=fresh / "disk.raw")
        )

    def keep_within() -> float:
        kept = scratch / "kept" / f"{loaded.recipe.name}-{_LAYOUT}.raw"
        return seconds(lambda: build_disk(rootfs, loaded, layout=_LAYOUT, destination=kept))

    name, bare_words = loaded.recipe.name, "mke2fs, sfdisk, grub, SHA-256"
    for title, limit, measurement, words in (
        ("build", 1.3, build_fresh, "`imgforge build`, Python's start included"),
        ("build in process", None, build_within, "build_disk alone"),
        ("unchanged", 0.1, build_unchanged, "`imgforge build` again, Python's start included"),
        ("unchanged in process", None, keep_within, "build_disk again"),
    ):
        measured, base = by_turns(measurement, bare, runs=runs)
        yield Figure(f"{title}: {name}", limit, measured, base, f"{words} / {bare_words}")


def _write_bare_sequence(loaded: RecipeFile, rootfs: Rootfs, folder: Path) -> Path:
    """Write the sequence as a script, beside its input: the tree with GRUB's files in it."""
    content = Content(rootfs.content_bytes, rootfs.index.read_bytes().count(b"\n"))
    plan = plan_disk(loaded, layout=_LAYOUT, content=content, tree=rootfs.tree)
    tree = folder / "tree"
    shutil.copytree(rootfs.tree, tree, symlinks=True)
    grub = tree / "boot" / "grub"
    grub.mkdir(parents=True, exist_ok=True)
    for stage in find_stages(loaded.recipe.disk.filesystem).all:
        shutil.copy(stage, grub)
    entries = resolve_entries(loaded, rootfs.tree)
    (grub / "menu.lst").write_bytes(format_menu(loaded.recipe.boot, entries, layout=_LAYOUT))
    (folder / "table").write_text(
        f"label: dos\nstart={plan.root.start_lba}, size={plan.root.sector_count}, type=83\n"
    )
    (folder / "grub").write_text("device (hd0) disk.raw\nroot (hd0,0)\nsetup (hd0)\nquit\n")
    script = folder / "sequence"
    script.write_text("\n".join(["set -e", *_bare_lines(loaded, plan, tree), ""]))
    return script


def _bare_lines(loaded: RecipeFile, plan: DiskPlan, tree: Path) -> Iterator[str]:
    disk = loaded.recipe.disk
    spec = FilesystemSpec(disk.filesystem, disk.label, uuid.UUID(int=1), stamp_s=1)
    arguments = mke2fs_arguments("disk.raw", plan=plan, spec=spec, tree=tree)
    yield f"truncate -s {plan.size_bytes} disk.raw"
    yield "sfdisk --quiet --no-reread --no-tell-kernel --wipe never disk.raw <table"
    yield shlex.join(["mke2fs", *map(str, arguments)])
    yield "grub --batch --no-floppy --device-map=/dev/null <grub >grub.said"
    yield "openssl dgst -sha256 disk.raw"
