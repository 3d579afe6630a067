"""menu.lst by three readers: ours, pygrub's, and GRUB 2's own legacy_configfile.

They agree on the entry, its kernel, arguments and initrd, or a table says why not. The
arguments are those that GRUB 2 reads, not those that the kernel gets: it puts a backslash before
each quote.
"""

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest

from tests.menu_readers import (
    CORPUS,
    PACKAGES,
    UNTOLD,
    Reading,
    read_by_grub,
    read_by_pygrub,
    read_here,
)

NAMES = sorted(path.stem for path in CORPUS.glob("*.lst"))
# Where another reader says otherwise than we do, and GRUB 0.97's source is with us.
PYGRUB = {
    "binary": "pygrub reads text in UTF-8 alone, and ends with an exception",
    "continued-comment": "pygrub joins no lines: a backslash means nothing to it",
    "continued-lines": "pygrub joins no lines: a backslash means nothing to it",
    "default-negative": "pygrub ends with an exception; GRUB passes over the line",
    "empty": "pygrub ends with an exception where there is no entry; we have none",
    "equals-signs": "pygrub takes `=` for a separator only where no space comes first",
    "hexadecimal-default": "pygrub reads decimal numbers alone; GRUB 0x, too",
    "initrd-with-more": "pygrub takes the whole line for the path; GRUB its first word",
    "kernel-options": "pygrub knows no --type and --no-mem-option",
    "latin-1-title": "pygrub reads text in UTF-8 alone, and ends with an exception",
    "lone-carriage-returns": "no entry: pygrub ends with an exception",
    "long-line": "pygrub has no longest line; GRUB cuts it at 1500 bytes",
    "netbsd-xen": "pygrub knows no --type",
    "nul-in-line": "pygrub goes on behind a NUL; to GRUB, written in C, it ends the line",
    "only-comments": "pygrub ends with an exception where there is no entry; we have none",
    "tabs": "pygrub splits a kernel line at spaces alone; GRUB makes spaces of tabs",
    "title-without-commands": "pygrub counts a title without commands; GRUB 0.97 drops it",
}
GRUB_2 = {
    "continued-comment": "GRUB 2 joins no lines, and crashes (SIGSEGV) at a title without commands",
    "continued-lines": "GRUB 2 joins no lines: a backslash means nothing to it",
    "control-characters": "the terminal swallows the title's escape sequence",
    "latin-1-title": "GRUB 2 shows a byte that is no UTF-8 as ?",
    "long-line": "GRUB 2 has no longest line; 0.97 cuts it at 1500 bytes",
    "title-without-commands": "GRUB 2 crashes (SIGSEGV) at a title without commands",
    "xen-dom0": "GRUB 2 takes the second module for an initrd",
}


def unpack(tool: str, folder: Path) -> Path:
    """Fetch a tool's packages and unpack them, installing nothing; skip where that cannot be."""
    fetch = ["apt-get", "-qq", "download", *PACKAGES[tool]]
    if os.geteuid() == 0:
        fetch[1:1] = ["-o", "APT::Sandbox::User=root"]
    try:
        subprocess.run(fetch, cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError):
        pytest.skip(f"{' '.join(PACKAGES[tool])} cannot be fetched from Debian")
    tree = folder / "tree"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, tree], check=True, timeout=60)
    return tree


def test_the_corpus_is_large() -> None:
    assert len(NAMES) >= 50


def test_pygrub_reads_the_same_or_the_table_says_why(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tree = unpack("pygrub", tmp_path_factory.mktemp("pygrub"))
    theirs = read_by_pygrub(tree, [CORPUS / f"{name}.lst" for name in NAMES])
    ours = [read_here(CORPUS / f"{name}.lst") for name in NAMES]
    differing = [name for name, a, b in zip(NAMES, ours, theirs, strict=True) if a != b]
    assert differing == sorted(PYGRUB)


@pytest.mark.slow
def test_grub_2_reads_the_same_or_the_table_says_why(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tree = unpack("grub-emu", tmp_path_factory.mktemp("grub-emu"))
    folder = tmp_path_factory.mktemp("grub")
    first = read_by_grub(tree, CORPUS / "guide-pv.lst", folder)
    if not isinstance(first, Reading):
        pytest.skip(f"grub-emu does not run here: {first}")
    differing = [name for name in NAMES if not grub_agrees(tree, name, folder)]
    assert differing == sorted(GRUB_2)


def grub_agrees(tree: Path, name: str, folder: Path) -> bool:
    path = CORPUS / f"{name}.lst"
    ours, theirs = read_here(path), read_by_grub(tree, path, folder)
    if ours is None or ours.kernel is None or not isinstance(theirs, Reading):
        # GRUB 2 tells nothing of a menu whose entry has no kernel.
        return theirs is None and (ours is None or ours.kernel is None)
    return theirs in {ours, dataclasses.replace(ours, title=UNTOLD)}
