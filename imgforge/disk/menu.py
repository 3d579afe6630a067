"""menu.lst: written from a recipe, with paths that are known to be in the tree."""

import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.recipe import BootPart, Layout, RecipeFile

_WILDCARDS = frozenset("*?[")
_MOST_SHOWN = 12
_MAX_LINKS_FOLLOWED = 40


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One title: paths in the image, symlinks resolved."""

    title: str
    kernel: str
    initrd: str | None
    command_line: str


def resolve_entries(recipe_file: RecipeFile, tree: Path) -> tuple[MenuEntry, ...]:
    """Find the files that the recipe's boot entries name.

    Raises BadInputError where none or several match, or menu.lst cannot express the path.
    """
    entries = []
    for index, entry in enumerate(recipe_file.recipe.boot.entries):
        place = f"Recipe {recipe_file.path.name}: boot.entries[{index}]"
        initrd = entry.initrd and _find_one(f"{place}.initrd", tree, entry.initrd)
        entries.append(
            MenuEntry(
                title=entry.title,
                kernel=_find_one(f"{place}.kernel", tree, entry.kernel),
                initrd=initrd or None,
                command_line=entry.command_line,
            )
        )
    return tuple(entries)


def recipe_menu(recipe_file: RecipeFile, tree: Path, *, layout: Layout) -> bytes:
    """Write menu.lst from a recipe, with paths that are in `tree`. Raises BadInputError."""
    entries = resolve_entries(recipe_file, tree)
    return format_menu(recipe_file.recipe.boot, entries, layout=layout)


def format_menu(boot: BootPart, entries: tuple[MenuEntry, ...], *, layout: Layout) -> bytes:
    """Write menu.lst as GRUB Legacy 0.97 and PV-GRUB read it (GRUB manual 0.97, chapter 13)."""
    lines = [f"default {boot.default}"]
    if boot.fallback is not None:
        lines.append(f"fallback {boot.fallback}")
    lines.append(f"timeout {boot.timeout_s}")
    if boot.serial and not layout.is_pv:
        # One terminal only: with two GRUB would wait for a key to choose.
        lines += ["serial --unit=0 --speed=115200", "terminal --dumb serial"]
    for entry in entries:
        lines += ["", f"title {entry.title}", f"root {grub_root(layout)}"]
        command_line = entry.command_line.replace("{console}", "hvc0" if layout.is_pv else "ttyS0")
        lines.append(f"kernel {entry.kernel} {command_line}".rstrip())
        if entry.initrd is not None:
            lines.append(f"initrd {entry.initrd}")
    return "\n".join([*lines, ""]).encode()


def grub_root(layout: Layout) -> str:
    """Return GRUB's name of the root file system."""
    return "(hd0)" if layout is Layout.PV else "(hd0,0)"


def _find_one(place: str, tree: Path, pattern: str) -> str:
    found = sorted({path for name in _expand(tree, pattern) if (path := _resolve(tree, name))})
    files = [path for path in found if (tree / path).is_file()]
    if len(files) == 1:
        if any(character.isspace() for character in files[0]):
            raise BadInputError(f"{place}: menu.lst cannot express {files[0]!r}: white space.")
        return "/" + files[0]
    if files:
        several = ", ".join("/" + path for path in files[:_MOST_SHOWN])
        raise BadInputError(f"{place}: {pattern}: several files match: {several}.")
    if found:
        raise BadInputError(f"{place}: /{found[0]} is no file.")
    for name in _expand(tree, pattern):
        target = _read_link(tree, name)
        if target is not None:
            raise BadInputError(
                f"{place}: /{name} is a symlink to {target!r}, which leads to nothing in the tree."
            )
    raise BadInputError(f"{place}: {pattern}: no file matches; {_show_folder(tree, pattern)}.")


def _read_link(tree: Path, path: str) -> str | None:
    """Return where the symlink `path` points; None where it is none."""
    parent, _, name = path.rpartition("/")
    resolved = _resolve(tree, parent)
    link = None if resolved is None else tree / resolved / name
    return str(link.readlink()) if link is not None and link.is_symlink() else None


def _show_folder(tree: Path, pattern: str) -> str:
    folder = os.path.dirname(pattern)  # noqa: PTH120 - a path in the image, not of this machine
    resolved = _resolve(tree, folder.strip("/")) if folder != "/" else "."
    if resolved is None or not (tree / resolved).is_dir():
        return f"there is no folder {folder}"
    names = sorted(path.name for path in (tree / resolved).iterdir())
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return f"{folder} holds {', '.join(names[:_MOST_SHOWN]) + more if names else 'nothing'}"


def _expand(tree: Path, pattern: str) -> list[str]:
    """Return the paths that exist in the tree and match, component by component."""
    found = [""]
    for part in pattern.strip("/").split("/"):
        step = []
        for folder in found:
            if not _WILDCARDS & set(part):
                step.append(f"{folder}/{part}".lstrip("/"))
                continue
            resolved = _resolve(tree, folder) if folder else "."
            if resolved is not None and (tree / resolved).is_dir():
                inside = [path.name for path in (tree / resolved).iterdir()]
                names = fnmatch.filter(inside, part)
                step += [f"{folder}/{name}".lstrip("/") for name in names]
        found = step
    return found


def _resolve(tree: Path, path: str) -> str | None:
    """Follow symlinks as the guest would, never out of the tree; None where nothing stands."""
    pending = [part for part in reversed(path.split("/")) if part not in {"", "."}]
    trail: list[str] = []
    followed = 0
    while pending:
        part = pending.pop()
        if part == "..":
            trail = trail[:-1]
            continue
        here = tree.joinpath(*trail, part)
        if here.is_symlink():
            followed += 1
            if followed > _MAX_LINKS_FOLLOWED:
                return None
            target = str(here.readlink())
            pending += [piece for piece in reversed(target.split("/")) if piece not in {"", "."}]
            if target.startswith("/"):
                trail = []
        elif here.exists():
            trail.append(part)
        else:
            return None
    return "/".join(trail)
