"""Bundles: against the original's own pipeline, and its slowest stage, with real files."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figure import Figure, by_turns
from benchmarks.product import imgforge
from imgforge.bundle import load_manifest
from imgforge.command import Setting, run

_SIZE = "1G"
_DATA_BYTES = 700 * 2**20
_SOURCES = ("/usr/bin", "/usr/lib", "/usr/share")
_KEY, _IV = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
_CIPHER = f"openssl enc -aes-128-cbc -K {_KEY} -iv {_IV}"
_TAR = "tar -c -h -S --owner 0 --group 0 disk"
# What the original runs, by its own options; each line's output is kept for the stages below.
_PIPELINE = f"""set -e
rm -f part.* digest; mkfifo digest
openssl sha1 <digest >sha1 &
{_TAR} | tee digest | gzip -9 | {_CIPHER} -e | split -b 10485760 - part.
wait
"""
_STAGES = {
    "openssl": f"{_CIPHER} -d <stage.enc >stage.out",
    "gzip": "gzip -dc <stage.gz >stage.out",
    "sha1": "openssl sha1 <stage.tar >stage.out",
    "tar": "rm -rf back; mkdir back; tar -xSf stage.tar -C back",
}
_PREPARE = f"""set -e
cat part.* >stage.enc
{_CIPHER} -d <stage.enc >stage.gz
gzip -dc <stage.gz >stage.tar
"""


def measure_bundle(*, scratch: Path, runs: int) -> Iterator[Figure]:
    """Measure bundling and its size against the original's pipeline, and extracting.

    Extracting is measured against the slowest of the pipeline's stages, turned round, alone. The
    commands are whole ones, Python's start included.
    """
    _make_disk(scratch)
    imgforge("certificate", "create", *_pair(scratch), scratch=scratch)
    manifest = scratch / "bundle" / "disk.manifest.xml"

    def bundle() -> float:
        shutil.rmtree(manifest.parent, ignore_errors=True)
        words = ("--account", "123456789012", "--out", manifest.parent)
        return imgforge(
            "bundle", "create", scratch / "disk", *_pair(scratch), *words, scratch=scratch
        )

    def extract() -> float:
        (scratch / "back.raw").unlink(missing_ok=True)
        words = ("--key", scratch / "key.pem", "--out", scratch / "back.raw")
        return imgforge("bundle", "extract", manifest, *words, scratch=scratch)

    measured, base = by_turns(bundle, lambda: _shell(_PIPELINE, scratch), runs=runs)
    ours = load_manifest(manifest).manifest.image.bundled_size_bytes
    theirs = sum(path.stat().st_size for path in scratch.glob("part.*"))
    words = "`imgforge bundle create` / tar, sha1, gzip -9, openssl, split"
    yield Figure("bundle: create", 1 / 3, measured, base, words, {"size": ours / theirs})
    words = "the parts / those of gzip -9"
    sizes = ((float(ours),), (float(theirs),))
    yield Figure("bundle: size", 1.03, *sizes, words, unit="bytes")
    _shell(_PREPARE, scratch)
    alone = {name: _shell(line, scratch) for name, line in _STAGES.items()}
    slowest = max(alone, key=lambda name: alone[name])
    measured, base = by_turns(extract, lambda: _shell(_STAGES[slowest], scratch), runs=runs)
    words = f"`imgforge bundle extract` / the slowest stage alone, {slowest}"
    yield Figure("bundle: extract", 1.15, measured, base, words, alone)


def _pair(scratch: Path) -> tuple[str | Path, ...]:
    return ("--key", scratch / "key.pem", "--cert", scratch / "certificate.pem")


def _shell(script: str, scratch: Path) -> float:
    path = scratch / "script"
    path.write_text(script)
    return run("sh", [path], setting=Setting(cwd=scratch)).seconds


def _make_disk(scratch: Path) -> None:
    """Make a disk of 1 GiB with an ext4 of this host's own programs and texts."""
    tree = scratch / "tree"
    tree.mkdir()
    left = _DATA_BYTES
    for number, path in enumerate(_files()):
        size_bytes = path.stat().st_size
        if size_bytes <= left:
            shutil.copyfile(path, tree / f"{number}-{path.name[:80]}")
            left -= size_bytes
        if left < 2**20:
            break
    run("mke2fs", ["-q", "-t", "ext4", "-d", tree, scratch / "disk", _SIZE])
    shutil.rmtree(tree)


def _files() -> Iterator[Path]:
    """Yield readable files of the host's, from each source by turns, in an order that stays."""
    found = [_files_of(source) for source in _SOURCES]
    while found:
        for files in list(found):
            path = next(files, None)
            if path is None:
                found.remove(files)
            else:
                yield path


def _files_of(source: str) -> Iterator[Path]:
    for folder, folders, names in os.walk(source):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_size and os.access(path, os.R_OK):
                yield path
