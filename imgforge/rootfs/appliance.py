"""The Xen appliance's files, made of Debian packages: nothing of them is installed or needs root.

Its bytes follow from the packages and the scripts alone: what packs them up is either ours, locked
(libdeflate), or runs out of the packages themselves (grub-mkimage).
"""

import gzip
import logging
import lzma
import stat
import struct
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import deflate

from imgforge.command import run
from imgforge.errors import CommandError, HostError
from imgforge.files import scratch_folder
from imgforge.rootfs.cpio import CpioEntry, file, folder, symlink, write_cpio
from imgforge.rootfs.elf import needed_libraries
from imgforge.rootfs.modules import parse_modules, plain_name

_LOG = logging.getLogger("imgforge")
HYPERVISOR, KERNEL, INITRAMFS, LOADER = "xen", "vmlinux.gz", "dom0.cpio.gz", "pv-grub"
LOADER_32 = "pv-grub-i386"
"""The files of an appliance: Xen, its dom0's kernel and initramfs, PV-GRUB's two stand-ins."""

UNPACKED_BYTES = 600 * 10**6
"""What the packages take for a while, unpacked: 550 MB were seen, on ext4."""
# strerror(3) of ENOSPC and EDQUOT, as dpkg-deb and its tar tell them.
_FULL = ("No space left on device", "Disk quota exceeded")
_UNPACK_LIMIT_S = 1200.0
_GRUB_LIMIT_S = 120.0
_DEPMOD_LIMIT_S = 300.0
_LEVEL = 9
_MTIME_S = 0
_XEN_TOOLS = "usr/lib/xen-4.17/bin"
_TOOLS = ("libxl-save-helper", "xenconsole", "xenconsoled", "xen-init-dom0", "xenstored", "xl")
_XENSTORE = ("xenstore-read", "xenstore-watch", "xenstore-write")
_APPLETS = (
    *("brctl", "cat", "dd", "insmod", "ip", "ln", "mkdir", "mount", "poweroff", "readlink"),
    *("sh", "sleep", "stat", "sync", "tr", "usleep"),
)
_FOLDERS = (
    *("bin", "dev", "etc", "etc/xen", "etc/xen/scripts", "lib", "lib/modules", "lib64", "proc"),
    *("run", "sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/lib/xen-4.17", _XEN_TOOLS),
    "usr/lib/xen-4.17/boot",
    *("var", "var/lib", "var/lib/xen", "var/lib/xenstored", "var/lock"),
    *("var/log", "var/log/xen", "var/log/xen/console"),
)
_MODULES = (
    *("xen-evtchn", "xen-gntdev", "xen-gntalloc", "xen-privcmd", "xenfs", "xen-blkback"),
    *("xen-netback", "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "bridge"),
)
# Faster on real processors, slower to load; the kernel does without.
_NEEDLESS = frozenset({"crc32c-intel.ko", "crc32-pclmul.ko", "crct10dif-pclmul.ko"})
# ld.so finds these by itself; libxl calls pthread_cancel, which opens libgcc_s at run time.
_OPENED_LATER = ("libgcc_s.so.1",)
_GRUB_FORMATS = {LOADER: "x86_64-xen", LOADER_32: "i386-xen"}
_GRUB = "usr/bin/grub-mkimage"
_SHIM = "usr/lib/xen-4.17/boot/xen-shim"
_GRUB_MODULES = (
    *("memdisk", "tar", "normal", "configfile", "legacycfg", "linux", "loopback", "regexp"),
    *("test", "search", "echo", "ls", "sleep", "halt", "reboot", "minicmd", "cat", "read", "true"),
    *("ext2", "xfs", "jfs", "reiserfs", "part_msdos", "part_gpt", "gzio", "xzio", "lzopio"),
    *("adler32", "crc64", "gcry_crc", "gcry_sha256", "terminal"),
)
_SCRIPTS = {"init": "init", "block": "etc/xen/scripts/block", "vif": "etc/xen/scripts/vif"}


def build_appliance(packages: Sequence[Path], *, scripts: Path, destination: Path) -> None:
    """Make the appliance's files in the empty folder `destination`.

    `scripts` is the folder of what is ours in it (guest/xen). Raises HostError where the packages
    do not hold what is needed.
    """
    with scratch_folder(destination.parent) as scratch:
        tree = scratch / "tree"
        tree.mkdir()
        _LOG.info("Xen appliance: unpacking %d packages", len(packages))
        _unpack(packages, tree)
        _LOG.info("Xen appliance: putting it together")
        hypervisor = gzip.decompress(_read(tree, "boot/xen-4.17-amd64.gz"))
        (destination / HYPERVISOR).write_bytes(hypervisor)
        version = _kernel_version(tree)
        kernel = unpack_bzimage(_read(tree, f"boot/vmlinuz-{version}"))
        (destination / KERNEL).write_bytes(deflate.gzip_compress(kernel, _LEVEL))
        libraries = _grub_libraries(tree, scratch)
        for name, kind in _GRUB_FORMATS.items():
            loader = _make_loader(tree, scripts, libraries=libraries, kind=kind)
            (destination / name).write_bytes(loader)
        entries = _entries(tree, version, scripts=scripts)
        archive = write_cpio(entries, mtime_s=_MTIME_S)
        (destination / INITRAMFS).write_bytes(deflate.gzip_compress(archive, _LEVEL))


def _unpack(packages: Sequence[Path], tree: Path) -> None:
    try:
        for package in packages:
            run("dpkg-deb", ["--extract", package, tree], timeout_s=_UNPACK_LIMIT_S)
    except CommandError as error:
        if not any(reason in str(error) for reason in _FULL):
            raise
        raise HostError(
            f"Xen appliance: {tree.parent} had no room left while its packages were unpacked; "
            f"they take {UNPACKED_BYTES // 10**6} MB.",
            hint="Free some (imgforge cache prune), or set IMGFORGE_CACHE to a folder elsewhere.",
        ) from error


def unpack_bzimage(image: bytes) -> bytes:
    """Return the ELF kernel inside a bzImage that is compressed by XZ or gzip.

    Xen could do this itself, much slower. Raises HostError (Documentation/arch/x86/boot.rst).
    """
    if image[0x202:0x206] != b"HdrS":
        raise HostError("The Xen appliance's kernel is no bzImage.")
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * 512 + offset
    payload = image[start : start + length]
    try:
        if payload.startswith(b"\xfd7zXZ\0"):
            return lzma.LZMADecompressor().decompress(payload)
        return gzip.decompress(payload)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise HostError(f"The Xen appliance's kernel cannot be unpacked: {error}.") from None


def _kernel_version(tree: Path) -> str:
    versions = sorted(path.name for path in (tree / "lib/modules").iterdir())
    if len(versions) != 1:
        raise HostError(f"The Xen appliance's packages hold {len(versions)} kernels, not one.")
    return versions[0]


def _entries(tree: Path, version: str, *, scripts: Path) -> list[CpioEntry]:
    """Return dom0's initramfs."""
    programs = {f"{_XEN_TOOLS}/{name}": f"{_XEN_TOOLS}/{name}" for name in _TOOLS}
    # One program, which goes by the name it is called with.
    programs |= {f"usr/bin/{name}": "usr/bin/xenstore" for name in _XENSTORE}
    programs["usr/bin/dbclient"] = "usr/bin/dbclient"
    return [
        *(folder(path) for path in _FOLDERS),
        CpioEntry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        symlink("var/run", "/run"),
        file("bin/busybox", _read(tree, "bin/busybox"), mode=0o755),
        *(symlink(f"bin/{applet}", "busybox") for applet in _APPLETS),
        *(file(path, _read(tree, source), mode=0o755) for path, source in programs.items()),
        *_libraries(tree, programs.values()),
        file(_SHIM, _read(tree, _SHIM)),
        *_modules(tree, version),
        # dbclient looks up who runs it.
        file("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
        file("etc/xen/xl.conf", (scripts / "xl.conf").read_bytes()),
        *(file(path, (scripts / name).read_bytes(), mode=0o755) for name, path in _SCRIPTS.items()),
    ]


def _libraries(tree: Path, programs: Iterable[str]) -> Iterator[CpioEntry]:
    for name, path in sorted(_closure(tree, programs).items()):
        place = f"lib64/{name}" if name.startswith("ld-linux") else f"usr/lib/{name}"
        yield file(place, path.read_bytes(), mode=0o755)


def _closure(tree: Path, programs: Iterable[str]) -> dict[str, Path]:
    """Return the libraries that programs need, and those need, by soname."""
    every = sorted(tree.rglob("*.so*"))
    known = {path.name: path for path in every if path.is_file()}
    # A link of ld.so's names a place of the whole system.
    known |= {path.name: path for path in every if not path.is_symlink()}
    found: dict[str, Path] = {}
    waiting = [name for path in programs for name in _needs(tree / path)] + [*_OPENED_LATER]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        if name not in known:
            raise HostError(f"The Xen appliance's packages hold no library {name}.")
        found[name] = known[name]
        waiting += _needs(known[name])
    return found


def _needs(path: Path) -> list[str]:
    try:
        return needed_libraries(path.read_bytes())
    except (OSError, ValueError) as error:
        raise HostError(f"The Xen appliance's packages: {path.name}: {error}.") from None


def _modules(tree: Path, version: str) -> Iterator[CpioEntry]:
    run("depmod", ["-b", tree, version], timeout_s=_DEPMOD_LIMIT_S)
    place = tree / "lib/modules" / version
    known = parse_modules(
        version,
        needs=(place / "modules.dep").read_text(encoding="utf-8").splitlines(),
        built_in=(place / "modules.builtin").read_text(encoding="utf-8").splitlines(),
    )
    paths = [path for path in known.order(_MODULES) if Path(path).name not in _NEEDLESS]
    names = [Path(plain_name(path)).name for path in paths]
    for path, name in zip(paths, names, strict=True):
        yield file(f"lib/modules/{name}", (place / path).read_bytes())
    yield file("lib/modules/load", "".join(f"{name}\n" for name in names).encode())


def _grub_libraries(tree: Path, scratch: Path) -> Path:
    """Put what grub-mkimage needs into a folder, and return it."""
    libraries = scratch / "libraries"
    libraries.mkdir()
    for name, path in _closure(tree, [_GRUB]).items():
        (libraries / name).write_bytes(path.read_bytes())
        (libraries / name).chmod(0o755)
    return libraries


def _make_loader(tree: Path, scripts: Path, *, libraries: Path, kind: str) -> bytes:
    """Make a stand-in for PV-GRUB, with the packages' own grub-mkimage and libraries."""
    scratch = libraries.parent
    # The configuration in GRUB's core knows no `if`: it only loads the one that does.
    (scratch / "early.cfg").write_text("normal (memdisk)/grub.cfg\n")
    (scratch / "memdisk.tar").write_bytes(_tar("grub.cfg", (scripts / "grub.cfg").read_bytes()))
    arguments: list[str | Path] = [
        *("--library-path", libraries, tree / _GRUB, "-O", kind),
        *("-d", tree / "usr/lib/grub" / kind, "-p", "(memdisk)/"),
        *("-c", scratch / "early.cfg", "-m", scratch / "memdisk.tar"),
        *("-o", scratch / "loader", *_GRUB_MODULES),
    ]
    run(str(libraries / "ld-linux-x86-64.so.2"), arguments, timeout_s=_GRUB_LIMIT_S)
    return (scratch / "loader").read_bytes()


def _tar(name: str, content: bytes) -> bytes:
    made = BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, BytesIO(content))
    return made.getvalue()


def _read(tree: Path, path: str) -> bytes:
    try:
        return (tree / path).read_bytes()
    except OSError as error:
        raise HostError(f"The Xen appliance's packages hold no {path}: {error.strerror}.") from None
