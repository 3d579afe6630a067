"""The external programs imgforge calls: what each is for, and who packages it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Program:
    """An external program and the packages that hold it.

    `version_arguments` make it print its version; empty where it has none.
    """

    name: str
    purpose: str
    debian: str
    fedora: str
    arch: str
    version_arguments: tuple[str, ...] = ("--version",)
    required: bool = True


_ALL = (
    Program(
        name="qemu-system-x86_64",
        purpose="runs the machine",
        debian="qemu-system-x86",
        fedora="qemu-system-x86-core",
        arch="qemu-system-x86",
    ),
    Program(
        name="qemu-img",
        purpose="overlays, and conversion to qcow2, vmdk and vhd",
        debian="qemu-utils",
        fedora="qemu-img",
        arch="qemu-img",
    ),
    Program(
        name="mmdebstrap",
        purpose="Debian packages become a root tree",
        debian="mmdebstrap",
        fedora="mmdebstrap",
        arch="mmdebstrap (AUR)",
    ),
    Program(
        name="apt-get",
        purpose="finds and fetches Debian packages",
        debian="apt",
        fedora="apt",
        arch="apt",
    ),
    Program(
        name="dpkg-deb",
        purpose="reads Debian packages",
        debian="dpkg",
        fedora="dpkg",
        arch="dpkg",
    ),
    Program(
        name="unshare",
        purpose="packages are installed, and machines run, in namespaces of their own",
        debian="util-linux",
        fedora="util-linux",
        arch="util-linux",
    ),
    Program(
        name="grub",
        purpose="GRUB Legacy: makes hvm disks boot",
        debian="grub-legacy",
        fedora="none: use the Vagrantfile",
        arch="grub-legacy (AUR)",
    ),
    Program(
        name="mke2fs",
        purpose="makes ext2, ext3 and ext4",
        debian="e2fsprogs",
        fedora="e2fsprogs",
        arch="e2fsprogs",
        version_arguments=("-V",),
    ),
    Program(
        name="debugfs",
        purpose="extended attributes in ext file systems",
        debian="e2fsprogs",
        fedora="e2fsprogs",
        arch="e2fsprogs",
        version_arguments=("-V",),
    ),
    Program(
        name="e2fsck",
        purpose="tells whether an ext file system is sound",
        debian="e2fsprogs",
        fedora="e2fsprogs",
        arch="e2fsprogs",
        version_arguments=("-V",),
    ),
    Program(
        name="sfdisk",
        purpose="partition tables",
        debian="fdisk",
        fedora="util-linux",
        arch="util-linux",
    ),
    Program(
        name="grub-fstest",
        purpose="reads files out of a disk without mounting it",
        debian="grub-common",
        fedora="grub2-tools-extra",
        arch="grub",
    ),
    Program(
        name="depmod",
        purpose="kernel module dependencies",
        debian="kmod",
        fedora="kmod",
        arch="kmod",
    ),
    Program(
        name="ssh",
        purpose="logs in to the machine",
        debian="openssh-client",
        fedora="openssh-clients",
        arch="openssh",
        version_arguments=("-V",),
    ),
    Program(
        name="ssh-keygen",
        purpose="a fresh key pair for each boot",
        debian="openssh-client",
        fedora="openssh",
        arch="openssh",
        version_arguments=(),
    ),
    Program(
        name="newuidmap",
        purpose="packages as an ordinary user, in a user namespace",
        debian="uidmap",
        fedora="shadow-utils",
        arch="shadow",
        version_arguments=(),
        required=False,
    ),
    Program(
        name="fakeroot",
        purpose="packages where user namespaces are forbidden",
        debian="fakeroot",
        fedora="fakeroot",
        arch="fakeroot",
        required=False,
    ),
    Program(
        name="fakechroot",
        purpose="packages where user namespaces are forbidden",
        debian="fakechroot",
        fedora="fakechroot",
        arch="fakechroot (AUR)",
        required=False,
    ),
    Program(
        name="mkfs.xfs",
        purpose="makes xfs",
        debian="xfsprogs",
        fedora="xfsprogs",
        arch="xfsprogs",
        version_arguments=("-V",),
        required=False,
    ),
    Program(
        name="xfs_db",
        purpose="changes files in xfs without mounting it",
        debian="xfsprogs",
        fedora="xfsprogs",
        arch="xfsprogs",
        version_arguments=("-V",),
        required=False,
    ),
    Program(
        name="xfs_repair",
        purpose="tells whether xfs is sound, sets it right",
        debian="xfsprogs",
        fedora="xfsprogs",
        arch="xfsprogs",
        version_arguments=("-V",),
        required=False,
    ),
    Program(
        name="xfs_logprint",
        purpose="tells whether xfs was unmounted",
        debian="xfsprogs",
        fedora="xfsprogs",
        arch="xfsprogs",
        version_arguments=("-V",),
        required=False,
    ),
)

PROGRAMS: Mapping[str, Program] = MappingProxyType({program.name: program for program in _ALL})
