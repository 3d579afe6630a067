"""The signs that no console shows: a machine ends, keeps silent, or lets nobody in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from imgforge.acceptance.record import LoginAttempt, LoginOutcome, SeenSign, StageName
from imgforge.machine import EndReason, MachineEnded


@dataclass(frozen=True, slots=True)
class OutsideSign:
    """What is known of such a sign beforehand. `is_symptom`: a cause on the console may name it."""

    id: str
    stage: StageName | None
    meaning: str
    hint: str
    is_symptom: bool = True

    def seen(self, *, text: str, at_s: float, more: str = "") -> SeenSign:
        """Return the sign as it was seen; `more` goes on where its meaning ends."""
        return SeenSign(self.id, f"{self.meaning}{more}", text, at_s, self.hint, self.stage)


_NO_KEYS_HINT = (
    "The kernel needs console=ttyS0, and the machine must print its SSH host keys on the "
    "console (cloud-init does; or guest/ shows how), or nobody can log in safely."
)
_SSH = StageName.SSH
_ROWS = (
    OutsideSign(
        "guest-shutdown",
        None,
        "the machine switched itself off",
        "Look for what shut it down in the lines above.",
    ),
    OutsideSign(
        "guest-reset",
        None,
        "the machine rebooted",
        "A kernel with panic=-1 reboots when it panics, as does an init that calls reboot: see the "
        "lines above. On EC2 it would do so again and again.",
    ),
    OutsideSign(
        "silent-reset",
        StageName.KERNEL,
        "the machine rebooted before its kernel said anything",
        "The kernel's file may be damaged or cut short, or be meant for another processor. Take "
        "`quiet` off its command line, and copy it again.",
    ),
    OutsideSign(
        "guest-panic",
        StageName.KERNEL,
        "the kernel reported a panic",
        "Take `quiet` off the kernel's command line to see the panic on the console.",
    ),
    OutsideSign(
        "kernel-refused",
        StageName.KERNEL,
        "the kernel is none that Xen starts as a PV guest",
        "It must be a 64-bit kernel for Xen PV (XEN_ELFNOTE_ENTRY), whole, and compressed in a way "
        "that PV-GRUB reads; imgforge menu-lst check tells more of it.",
        is_symptom=False,
    ),
    OutsideSign(
        "silence",
        None,
        "nothing was heard",
        _NO_KEYS_HINT + " A machine that is only slow needs a larger expect.silence_limit_s.",
    ),
    OutsideSign(
        "boot-limit",
        None,
        "nobody was logged in",
        _NO_KEYS_HINT + " A machine that is only slow needs a larger expect.boot_limit_s.",
    ),
    OutsideSign(
        "silent-kernel",
        StageName.KERNEL,
        "the kernel was started, and said nothing",
        "Take `quiet` off its command line, to see where it stops: it needs console=ttyS0 (hvc0 "
        "of a PV one), and earlyprintk=ttyS0 (xen) if its file is damaged. A slow machine needs a "
        "larger expect.silence_limit_s.",
    ),
    OutsideSign(
        "sshd-silent",
        _SSH,
        "the machine showed its host keys, but its SSH server did not answer",
        "Is the SSH server started, and does it listen on port 22 of the machine's address? A "
        "machine that is only slow needs larger limits in the recipe's expect.",
    ),
    OutsideSign(
        "host-keys-not-shown",
        _SSH,
        "the machine fetched the key, but never showed its SSH host keys",
        _NO_KEYS_HINT,
    ),
    OutsideSign(
        "no-host-keys",
        _SSH,
        "the machine showed an empty list of SSH host keys",
        "Make the host keys before they are printed (`ssh-keygen -A`, cloud-init, dropbearkey).",
    ),
    OutsideSign(
        "key-not-fetched",
        StageName.METADATA,
        "the machine never asked the metadata service for the key, and refuses it",
        "Fetch http://169.254.169.254/latest/meta-data/public-keys/0/openssh-key when booting "
        "(cloud-init does), and look for the network in the lines above.",
    ),
    OutsideSign(
        "key-not-served",
        _SSH,
        "the metadata service is off, and the SSH server refused the key",
        "A NoCloud seed tells the key then: does the image read one, from a disk labelled cidata? "
        "Without a seed only what the image and its user data hold can let the owner in.",
    ),
    OutsideSign(
        "ssh-refused-key",
        _SSH,
        "the SSH server refused the served key",
        "Put the metadata's public key into the user's authorized_keys (folder mode 0700, file "
        "0600, owned by that user), and check expect.login_user.",
    ),
    OutsideSign(
        "ssh-wrong-answer",
        _SSH,
        "the SSH server took the key, but ran no command",
        "Check expect.login_user, its shell, and `command=` in its authorized_keys.",
    ),
    OutsideSign(
        "host-key-mismatch",
        _SSH,
        "the SSH server showed another host key than the console did",
        "Print the host keys after they are made, and only those the server uses.",
        is_symptom=False,
    ),
    OutsideSign(
        "ssh-no-agreement",
        _SSH,
        "ssh and the machine's server share no algorithm",
        "Let the server make an ed25519 host key, and offer current algorithms.",
        is_symptom=False,
    ),
    OutsideSign(
        "nothing-to-start",
        StageName.BOOTLOADER,
        "the boot loader would start nothing",
        "imgforge menu-lst check tells what is wrong, by line; menu.lst and its kernel are looked "
        "for where PV-GRUB would: in its nine places, in order.",
        is_symptom=False,
    ),
)
OUTSIDE_SIGNS: Mapping[str, OutsideSign] = MappingProxyType({row.id: row for row in _ROWS})

_HOST_MEANINGS: Mapping[EndReason, str] = MappingProxyType(
    {
        EndReason.HOST_INTERNAL_ERROR: "QEMU reported an internal error",
        EndReason.QEMU_DIED: "QEMU died",
        EndReason.HOST_DISK_FULL: "the host had no space for what the machine wrote",
        EndReason.APPLIANCE_FAILED: "the Xen appliance failed",
        EndReason.STOPPED_BY_US: "imgforge itself ended the machine",
    }
)
HOST_ENDS = frozenset(_HOST_MEANINGS)
"""Ends that say nothing of the image."""


def sign_of_end(ended: MachineEnded, *, was_in: bool, waits_for_kernel: bool) -> SeenSign:
    """Return the sign that a machine's own end is, before it was let go.

    `waits_for_kernel` tells whether a kernel was loaded, and said nothing.
    """
    if ended.reason is EndReason.GUEST_RESET and waits_for_kernel:
        return OUTSIDE_SIGNS["silent-reset"].seen(text=ended.detail, at_s=ended.at_s)
    when = "while it was being looked at" if was_in else "before anybody was logged in"
    row = OUTSIDE_SIGNS.get(ended.reason.value)
    if row is None:
        meaning = f"{_HOST_MEANINGS[ended.reason]} {when}"
        return SeenSign(ended.reason.value, meaning, ended.detail, ended.at_s, "", None)
    return row.seen(text=ended.detail, at_s=ended.at_s, more=f" {when}")


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a machine so far: the last words, and whether keys went either way."""

    last: str
    has_host_keys: bool = False
    fetched: bool = False
    waits_for_kernel: bool = False


def sign_of_silence(heard: Heard, *, at_s: float, limit_s: float) -> SeenSign:
    """Return the sign that `limit_s` seconds without console, request or login are."""
    row = _unheard("silence", heard)
    more = " for" if row.id == "silence" else ": nothing was heard for"
    return row.seen(text=heard.last, at_s=at_s, more=f"{more} {limit_s:g} s")


def sign_of_limit(heard: Heard, *, at_s: float, limit_s: float) -> SeenSign:
    """Return the sign that the boot's time limit is."""
    row = _unheard("boot-limit", heard)
    return row.seen(text=heard.last, at_s=at_s, more=f" within {limit_s:g} s")


def _unheard(otherwise: str, heard: Heard) -> OutsideSign:
    if heard.has_host_keys:
        return OUTSIDE_SIGNS["sshd-silent"]
    if heard.waits_for_kernel:
        return OUTSIDE_SIGNS["silent-kernel"]
    return OUTSIDE_SIGNS["host-keys-not-shown" if heard.fetched else otherwise]


def sign_of_empty_host_keys(*, at_s: float, last: str) -> SeenSign:
    """Return the sign that a block of host keys without a key is."""
    return OUTSIDE_SIGNS["no-host-keys"].seen(text=last, at_s=at_s)


class KeyWay(StrEnum):
    """What became of the owner's key on its way from the metadata service into the machine."""

    FETCHED = "fetched"
    NOT_ASKED = "not-asked"
    NOT_SERVED = "not-served"


def sign_of_login(attempt: LoginAttempt, *, way: KeyWay) -> SeenSign:
    """Return the sign that an SSH server is that will not let the owner of the key in.

    `way` tells whether the guest was given the key at all.
    """
    more = ""
    match attempt.outcome:
        case LoginOutcome.HOST_KEY_MISMATCH:
            sign_id = "host-key-mismatch"
        case LoginOutcome.NO_AGREEMENT:
            sign_id = "ssh-no-agreement"
        case LoginOutcome.WRONG_ANSWER:
            sign_id, more = "ssh-wrong-answer", f" for {attempt.user}"
        case _ if way is KeyWay.NOT_ASKED:
            sign_id = "key-not-fetched"
        case _ if way is KeyWay.NOT_SERVED:
            sign_id, more = "key-not-served", f" for user {attempt.user}"
        case _:
            sign_id, more = "ssh-refused-key", f" for user {attempt.user}"
    text = attempt.evidence.rpartition("\n")[2]
    return OUTSIDE_SIGNS[sign_id].seen(text=text, at_s=attempt.at_s, more=more)
