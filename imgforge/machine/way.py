"""How a guest's connections come to its metadata service: which way this host allows, and why."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from imgforge import host
from imgforge.command import run
from imgforge.errors import BadInputError, HostError, MissingProgramError

_PROBE_LIMIT_S = 20.0
_ANY_EXIT_CODE = range(-64, 256)
_ENTRANCE = Path(__file__).with_name("entrance.py")


class MetadataWay(StrEnum):
    """The ways from a guest to 169.254.169.254; neither needs a privilege, or leads elsewhere.

    NAMESPACE runs QEMU in a network namespace that holds the metadata service and nothing else.
    GUESTFWD lets QEMU's user network hand each connection to a relay, and keeps the rest from the
    guest (restrict=on).
    """

    NAMESPACE = "namespace"
    GUESTFWD = "guestfwd"


class WayWish(StrEnum):
    """What the user asked for with IMGFORGE_METADATA_WAY."""

    AUTO = "auto"
    NAMESPACE = "namespace"
    GUESTFWD = "guestfwd"


@dataclass(frozen=True, slots=True)
class WayChoice:
    """The way taken, and why, in words for `doctor`."""

    way: MetadataWay
    reason: str


def choose_way(*, network: bool = False) -> WayChoice:
    """Choose the way for the machines of this process; `network` lets the guest out.

    The host is tried once in a process, which takes some 30 ms. Raises BadInputError where
    IMGFORGE_METADATA_WAY wants what is no way, HostError where that does not work here.
    """
    if network:
        return WayChoice(MetadataWay.GUESTFWD, "the guest is let out to the host's network")
    return judge_way(parse_wish(host.metadata_way()), probe_namespace)


def parse_wish(text: str) -> WayWish:
    """Read IMGFORGE_METADATA_WAY; raises BadInputError for what is no way."""
    try:
        return WayWish(text or WayWish.AUTO)
    except ValueError:
        raise BadInputError(
            f"IMGFORGE_METADATA_WAY={text}: no way to the metadata service.",
            hint=f"Set it to {', '.join(WayWish)}.",
        ) from None


def judge_way(wish: WayWish, probe: Callable[[], str]) -> WayChoice:
    """Choose by what is wished for, and by what `probe` says: why there is no namespace, or "".

    Raises HostError where one is asked for and there is none.
    """
    if wish is WayWish.GUESTFWD:
        return WayChoice(MetadataWay.GUESTFWD, "asked for")
    refused = probe()
    if refused and wish is WayWish.NAMESPACE:
        raise HostError(
            f"IMGFORGE_METADATA_WAY=namespace: this host has no namespace for it: {refused}.",
            hint="Unset it: the way by guestfwd needs none.",
        )
    if refused:
        return WayChoice(MetadataWay.GUESTFWD, f"no network namespace on this host ({refused})")
    if wish is WayWish.NAMESPACE:
        return WayChoice(MetadataWay.NAMESPACE, "asked for")
    kind = "root's" if host.is_root() else "of an ordinary user, in a user namespace"
    return WayChoice(MetadataWay.NAMESPACE, f"a network namespace works here ({kind})")


@cache
def probe_namespace() -> str:
    """Return "" where a namespace with 169.254.169.254 can be made, else why it cannot."""
    program, *arguments = enter_command()
    try:
        ended = run(
            program,
            arguments,
            timeout_s=_PROBE_LIMIT_S,
            accepted_exit_codes=_ANY_EXIT_CODE,
        )
    except MissingProgramError:
        return "unshare is missing"
    if ended.exit_code == 0:
        return ""
    said = ended.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"unshare ended with {ended.exit_code}"


def enter_command() -> list[str]:
    """Return the program, with arguments, that makes a namespace ready for what follows it.

    Without anything to follow it only tries. Root makes the network namespace alone: in a user
    namespace it would lose its right to other users' files.
    """
    user = [] if host.is_root() else ["--user", "--map-root-user"]
    return ["unshare", *user, "--net", sys.executable, "-I", "-S", str(_ENTRANCE)]
