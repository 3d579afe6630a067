"""Locked packages become a tar archive of a configured Debian system, by mmdebstrap."""

import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from imgforge.command import Setting, Streams, run, spawn
from imgforge.errors import CommandError, HostError
from imgforge.files import appearing, scratch_folder, sweep
from imgforge.rootfs import guard
from imgforge.rootfs.lock import Lock
from imgforge.rootfs.package_mode import (
    PackageMode,
    PackageModeChoice,
    enter_command,
    remove_with_subordinate_ids,
)

_LOG = logging.getLogger("imgforge")
_LIMIT_S = 3600.0
_GUARD_LIMIT_S = 30.0
_FIELD_LIMIT_S = 120.0
_MERGED_USR = Path("/usr/share/mmdebstrap/hooks/merged-usr/setup00.sh")
_MARK = "IMGFORGE_BOOTSTRAP"
_STEPS = ("I: extracting", "I: installing", "I: creating")


def newest_build_s(packages: Sequence[Path]) -> int:
    """Return when the newest of the packages was built, in seconds since 1970.

    dpkg-deb stamps each package with the date of its changelog and clamps the files in it to that
    (deb(5), reproducible-builds.org/specs/source-date-epoch): nothing from a package is newer.
    """
    newest = 0
    for path in packages:
        with path.open("rb") as file:
            header = file.read(8 + 60)  # ar(5): the magic, then the first member's header
        stamp = header[8 + 16 : 8 + 28].strip()
        if not header.startswith(b"!<arch>\n") or not stamp.isdigit():
            raise HostError(f"{path}: not a Debian package.")
        newest = max(newest, int(stamp))
    return newest


def bootstrap(
    lock: Lock, packages: Sequence[Path], *, choice: PackageModeChoice, destination: Path
) -> None:
    """Install exactly `packages`, the files of `lock`, and write the tree's tar to `destination`.

    Raises HostError with the end of what mmdebstrap said.
    """
    _LOG.info("packages: installing %d with mmdebstrap (%s)", len(packages), choice.reason)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(destination.parent) as scratch:
        sweep(destination.parent, remove=remove_with_subordinate_ids)
        try:
            repository = scratch / "repository"
            _make_repository(repository, packages)
            _run_mmdebstrap(lock, choice.mode, scratch, newest_build_s(packages))
            with appearing(destination) as new:
                (scratch / "tree.tar").rename(new)
        finally:
            remove_with_subordinate_ids(scratch / "tmp")


def _run_mmdebstrap(lock: Lock, mode: PackageMode, scratch: Path, epoch_s: int) -> None:
    (scratch / "tmp").mkdir()
    names = ",".join(package.name for package in lock.packages)
    inner = "fakechroot" if mode is PackageMode.FAKECHROOT else "root"
    source = f"deb [trusted=yes] copy:{quote(str((scratch / 'repository').resolve()))} ./"
    command = [
        *enter_command(mode),
        "mmdebstrap",
        f"--mode={inner}",
        "--variant=minbase",
        f"--architectures={lock.base.architecture}",
        "--format=tar",
        "--skip=check/qemu",
        f"--include={names}",
        '--aptopt=APT::Sandbox::User "root"',
        *([f"--setup-hook={_MERGED_USR}"] if _MERGED_USR.exists() else []),
        "",  # no suite: whatever the repository holds
        str(scratch / "tree.tar"),
        source,
    ]
    environment = {
        "TMPDIR": str(scratch / "tmp"),
        "SOURCE_DATE_EPOCH": str(epoch_s),
        _MARK: str(scratch),
    }
    try:
        with _guarded(mode, f"{_MARK}={scratch}"):
            run(
                command[0],
                command[1:],
                streams=Streams(on_stderr=_tell),
                setting=Setting(environment=environment),
                timeout_s=_LIMIT_S,
            )
    except CommandError as error:
        raise HostError(
            f"The packages of {lock.base.suite} cannot be installed: {error}",
            hint="`imgforge doctor` shows how packages are installed on this host.",
        ) from None


@contextmanager
def _guarded(mode: PackageMode, mark: str) -> Iterator[None]:
    """End whatever has `mark` with this block or this process; a process namespace does so itself.

    The guard is a process of its own: it must outlive this one.
    """
    if mode in {PackageMode.USER_NAMESPACE, PackageMode.ROOT_NAMESPACE}:
        yield
        return
    ready = threading.Event()
    watcher = spawn(
        sys.executable,
        ["-I", "-S", guard.__file__, mark],
        streams=Streams(on_stderr=lambda _line: ready.set()),
    )
    try:
        if not ready.wait(_GUARD_LIMIT_S):
            raise HostError(
                f"The guard of mmdebstrap's processes did not start within {_GUARD_LIMIT_S:g} s.",
                hint="Is this host overloaded?",
            )
        yield
    finally:
        watcher.kill()
        guard.end(mark.encode())


def _make_repository(folder: Path, packages: Sequence[Path]) -> None:
    """Make `folder` a flat apt repository (sources.list(5)) of exactly these packages."""
    folder.mkdir()
    stanzas = []
    for package in packages:
        try:
            os.link(package, folder / package.name)
        except OSError:
            shutil.copyfile(package, folder / package.name)
        asked = run("dpkg-deb", ["--field", package], timeout_s=_FIELD_LIMIT_S)
        control = asked.stdout.decode(errors="replace")
        sha256 = package.name.removesuffix(".deb")
        stanzas.append(
            f"{control.strip()}\nFilename: ./{package.name}\n"
            f"Size: {package.stat().st_size}\nSHA256: {sha256}\n"
        )
    (folder / "Packages").write_text("\n".join(stanzas), encoding="utf-8")


def _tell(line: str) -> None:
    if line.startswith(_STEPS):
        _LOG.info("packages: %s", line.removeprefix("I: ").strip().removesuffix("..."))
