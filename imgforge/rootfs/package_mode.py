"""How packages can be installed on this host: a ladder, climbed down until something holds."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imgforge import host
from imgforge.command import run
from imgforge.errors import HostError, MissingProgramError

_PROBE_LIMIT_S = 20.0
_NAMESPACE = ("--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_USER_NAMESPACE = ("--user", "--map-auto", "--map-root-user", *_NAMESPACE)
_ANY_EXIT_CODE = range(-64, 256)


class PackageMode(StrEnum):
    """A way to make a root tree of Debian packages."""

    UNPACK = "unpack"
    USER_NAMESPACE = "user-namespace"
    ROOT_NAMESPACE = "root-namespace"
    ROOT = "root"
    FAKECHROOT = "fakechroot"


@dataclass(frozen=True, slots=True)
class HostOffer:
    """What this host allows, as far as installing packages goes.

    `user_namespace` is empty where one with a range of subordinate ids works, else why it does
    not; `mount_namespace` tells whether root may make one.
    """

    is_root: bool
    user_namespace: str
    mount_namespace: bool
    programs: Collection[str]


@dataclass(frozen=True, slots=True)
class PackageModeChoice:
    """The way taken, and why, in words for `doctor`."""

    mode: PackageMode
    reason: str


def choose_package_mode(variant: str, offer: HostOffer) -> PackageModeChoice:
    """Choose how to install packages; raises HostError where the host offers no way."""
    if variant == "extract":
        return PackageModeChoice(
            PackageMode.UNPACK, "packages are only unpacked: that needs no privilege"
        )
    if offer.is_root and offer.mount_namespace:
        return PackageModeChoice(
            PackageMode.ROOT_NAMESPACE, "root, in mount and process namespaces of its own"
        )
    can_fake = {"fakechroot", "fakeroot"} <= set(offer.programs)
    if offer.is_root and can_fake:
        return PackageModeChoice(
            PackageMode.FAKECHROOT, "root without namespaces (they are forbidden here): fakechroot"
        )
    if offer.is_root:
        return PackageModeChoice(
            PackageMode.ROOT,
            "root without namespaces (they are forbidden here) and without fakechroot: no /proc "
            "while packages are configured, and the tree lacks what systemd-tmpfiles makes",
        )
    if not offer.user_namespace:
        return PackageModeChoice(
            PackageMode.USER_NAMESPACE, "an ordinary user, in a user namespace of its own"
        )
    if can_fake:
        return PackageModeChoice(
            PackageMode.FAKECHROOT,
            f"an ordinary user without user namespaces ({offer.user_namespace}): fakechroot",
        )
    raise HostError(
        f"Packages cannot be installed as this user: user namespaces do not work "
        f"({offer.user_namespace}), and fakechroot or fakeroot is missing.",
        hint="Install fakechroot and fakeroot, or allow user namespaces: a range in /etc/subuid "
        "and /etc/subgid and the package uidmap.",
    )


def probe_host() -> HostOffer:
    """Find out, by trying, what this host allows."""
    is_root = host.is_root()
    return HostOffer(
        is_root=is_root,
        user_namespace="" if is_root else _probe_user_namespace(),
        mount_namespace=is_root and not _probe(_NAMESPACE),
        programs=[
            name
            for name in ("fakechroot", "fakeroot")
            if shutil.which(name, path=host.search_path())
        ],
    )


def enter_command(mode: PackageMode) -> list[str]:
    """Return the program, with arguments, that runs what follows it in `mode`."""
    match mode:
        case PackageMode.USER_NAMESPACE:
            return ["unshare", *_USER_NAMESPACE]
        case PackageMode.ROOT_NAMESPACE:
            return ["unshare", *_NAMESPACE]
        case PackageMode.FAKECHROOT:
            return ["fakechroot", "fakeroot"]
        case _:
            return []


def remove_with_subordinate_ids(folder: Path) -> None:
    """Remove what files of subordinate users keep an ordinary user from removing."""
    if folder.exists() and not host.is_root():
        run(
            "unshare",
            [*_USER_NAMESPACE, "rm", "-rf", "--", folder],
            timeout_s=300.0,
            accepted_exit_codes=_ANY_EXIT_CODE,
        )


def _probe_user_namespace() -> str:
    if not shutil.which("newuidmap", path=host.search_path()):
        return "newuidmap is missing"
    return _probe(_USER_NAMESPACE)


def _probe(arguments: Collection[str]) -> str:
    """Return nothing where `unshare` works with `arguments`, else what it said."""
    try:
        ended = run(
            "unshare",
            [*arguments, "true"],
            timeout_s=_PROBE_LIMIT_S,
            accepted_exit_codes=_ANY_EXIT_CODE,
        )
    except MissingProgramError:
        return "unshare is missing"
    if ended.exit_code == 0:
        return ""
    said = ended.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"unshare ended with {ended.exit_code}"
