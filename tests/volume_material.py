"""A machine's tree with all that is hard to bundle, and trees compared by everything they hold."""

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from imgforge.disk import find_root_volume, read_volume_tree
from imgforge.rootfs import EntryKind, Found, Reader, TreeEntry, read_standing_tree

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
# u::rw-, user 7 r--, group::r--, mask::r--, other::--- as getxattr(2) has it.
ACL = bytes.fromhex(
    "0200000001000600ffffffff020004000700000004000400ffffffff10000400ffffffff20000000ffffffff"
)
PEM = (
    "-----BEGIN {0}-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
    "-----END {0}-----\n"
)
PRIVATE_PEM = PEM.format("PRIVATE KEY")
MENU = """\
default 0
title Linux
\troot (hd0)
kernel\t\t/boot/vmlinuz-4.7.4 root=LABEL=cloudimg-rootfs ro console=ttyS0
initrd /boot/initrd.img-4.7.4
"""
FSTAB = """\
LABEL=cloudimg-rootfs   /        ext4   defaults        0 0
LABEL=UEFI     /boot/efi       vfat    defaults        0 0
/dev/xvdb       /mnt    auto    defaults,nobootwait,comment=cloudconfig 0       2
"""
# Each is left out by the filter.
SECRETS = (
    *("root/.ssh/authorized_keys", "root/.bash_history", "root/.zsh_history", "root/.ssh/id_rsa"),
    *("root/.ssh/id_ed25519", "root/.ssh/id_ecdsa_sk.pub", "root/.aws/credentials", "root/.netrc"),
    *("root/.local/share/fish/fish_history", "root/.python_history", "root/.mysql_history"),
    *("etc/#edited#", "etc/copy~", "etc/.x.swp", "srv/my.pem", "srv/store.jks", "root/.boto"),
    *("root/.config/gcloud/credentials.db", "root/.ash_history", "root/.psql_history"),
)
KEPT_HIDDEN = (".top", ".topfolder/inside", "root/.profile", "root/.ssh/known_hosts", "a/.b/.c")


def make_machine(folder: Path, *, as_root: bool) -> Path:
    """Write a tree into `folder`; `as_root` with owners, attributes and nodes of root's."""
    tree = folder

    def write(path: str, text: str | bytes = "x") -> Path:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        (tree / path).write_bytes(data)
        return tree / path

    for name in ("boot/grub", "dev", "proc", "sys", "mnt", "media", "tmp", "var/log", "run"):
        (tree / name).mkdir(parents=True)
    write("boot/grub/menu.lst", MENU)
    write("boot/vmlinuz-4.7.4", b"MZ" + bytes(range(256)) * 300)
    write("boot/initrd.img-4.7.4", b"initrd" * 999)
    write("etc/fstab", FSTAB)
    for path in (*SECRETS, *KEPT_HIDDEN):
        write(path, "what " + path)
    write("srv/tls.key", PRIVATE_PEM)
    write("srv/public.key", PEM.format("PUBLIC KEY"))
    write("srv/no-name-tells", "# mine\n" + PRIVATE_PEM)
    write("etc/ssl/certs/root-ca.pem", PEM.format("CERTIFICATE"))
    (tree / "etc/ssl/certs/link.pem").symlink_to("root-ca.pem")
    for path in ("dev/sda", "proc/1", "sys/x", "mnt/data", "media/cdrom/x"):
        write(path)
    write("usr/hard-one", b"linked" * 5000)
    (tree / "etc/hard-two").hardlink_to(tree / "usr/hard-one")
    (tree / "loop").symlink_to("loop")
    (tree / "up").symlink_to("../../../../etc/passwd")
    (tree / "long").symlink_to("/etc/" + "x" * 200)
    os.mkfifo(tree / "run/fifo")
    with (tree / "var/sparse").open("wb") as sparse:
        sparse.truncate(400 * 2**20)
        sparse.seek(123 * 2**20 + 5)
        sparse.write(b"in the middle")
    write("var/empty", b"")
    for name in ("new\nline", 'quo"te', "-dash", "ünï", os.fsdecode(b"latin\xe9"), " space ", "\\"):
        write(f"odd/{name}")
    (tree / "etc/setuid").write_bytes(b"#!")
    (tree / "etc/setuid").chmod(0o4711)
    (tree / "tmp").chmod(0o1777)
    with suppress(OSError):
        os.setxattr(tree / "etc/setuid", "user.note", b"noted \0 bytes")
    _bind(tree / "run/socket")
    if as_root:
        os.mknod(tree / "srv/null", 0o020666, os.makedev(1, 3))
        os.mknod(tree / "srv/disk", 0o060660, os.makedev(259, 70000))
        os.setxattr(tree / "etc/setuid", "security.capability", CAPABILITY)
        os.setxattr(tree / "usr/hard-one", "system.posix_acl_access", ACL)
        for number, one in enumerate(sorted(tree.rglob("*"))):
            if not one.is_symlink() and "setuid" not in one.name:
                os.chown(one, number % 7 * 20_001, number % 5 * 33_333)
    for one in sorted(tree.rglob("*"), reverse=True):
        os.utime(one, (1_500_000_000, 1_500_000_000 + len(one.name)), follow_symlinks=False)
    os.utime(tree, (1_500_000_000, 1_500_000_000))
    return tree


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


class Everything(Reader):
    """Keeps all, and fails for what cannot be read."""

    def keeps(self, entry: TreeEntry, identity: tuple[int, int] | None) -> bool:
        return True

    def enters(self, path: str) -> bool:
        return True

    def unreadable(self, path: str, error: OSError) -> None:
        raise error

    def passed_over(self, path: str, why: str) -> None:
        assert why == "socket", path


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a path is."""

    entry: TreeEntry
    target: str
    content: str
    links: set[str] = field(compare=True)


def see(found: Iterator[Found]) -> dict[str, Seen]:
    """Return all that is found, with the digest of each file and all names of its links."""
    seen: dict[str, Seen] = {}
    names: dict[tuple[int, int], set[str]] = {}
    for one in found:
        links = names.setdefault(one.identity, set()) if one.identity else set()
        links.add(one.entry.path)
        content = ""
        if one.entry.kind is EntryKind.FILE:
            assert one.content is not None
            with one.content() as opened:
                digest = hashlib.sha256(b"%d" % opened.size_bytes)
                for offset, block in opened.blocks:
                    if block.strip(b"\0"):
                        digest.update(b"%d %d " % (offset, len(block)) + block)
            content = digest.hexdigest()
        seen[one.entry.path] = Seen(one.entry, one.target, content, links)
    return seen


def see_folder(folder: Path) -> dict[str, Seen]:
    return see(read_standing_tree(folder, Everything()))


def see_disk(disk: Path) -> dict[str, Seen]:
    volume = find_root_volume(disk)
    return see(read_volume_tree(disk, volume, Everything(), aside=disk.parent))
