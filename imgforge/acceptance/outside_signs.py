"""The fatal signs that no console shows: a machine ends, keeps silent, or lets nobody in."""

from collections.abc import Mapping
from types import MappingProxyType

from imgforge.acceptance.record import LoginAttempt, LoginOutcome, SeenSign, StageName
from imgforge.machine import EndReason, MachineEnded

_END_MEANINGS: Mapping[EndReason, tuple[str, str]] = MappingProxyType(
    {
        EndReason.GUEST_SHUTDOWN: (
            "the machine switched itself off",
            "Look for what shut it down in the lines above.",
        ),
        EndReason.GUEST_RESET: (
            "the machine rebooted",
            "A kernel with panic=-1 reboots when it panics, as does an init that calls reboot; "
            "see the lines above.",
        ),
        EndReason.GUEST_PANIC: (
            "the kernel reported a panic",
            "Take `quiet` off the kernel's command line to see the panic on the console.",
        ),
        EndReason.HOST_INTERNAL_ERROR: ("QEMU reported an internal error", ""),
        EndReason.QEMU_DIED: ("QEMU died", ""),
        EndReason.STOPPED_BY_US: ("imgforge itself ended the machine", ""),
    }
)


def sign_of_end(ended: MachineEnded, *, was_in: bool) -> SeenSign:
    """Return the sign that a machine's own end is, before it was let go."""
    meaning, hint = _END_MEANINGS[ended.reason]
    when = "while it was being looked at" if was_in else "before anybody was logged in"
    return SeenSign(
        id=ended.reason.value,
        meaning=f"{meaning} {when}",
        text=ended.detail,
        at_s=ended.at_s,
        hint=hint,
        stage=None,
    )


HOST_ENDS = frozenset({EndReason.HOST_INTERNAL_ERROR, EndReason.QEMU_DIED, EndReason.STOPPED_BY_US})
"""Ends that say nothing of the image."""


def sign_of_silence(*, at_s: float, limit_s: float, last: str, has_host_keys: bool) -> SeenSign:
    """Return the sign that `limit_s` seconds without console, request or login are."""
    return SeenSign(
        id="silence",
        meaning=f"nothing was heard for {limit_s:g} s",
        text=last,
        at_s=at_s,
        hint=_quiet_hint(has_host_keys=has_host_keys)
        + " A machine that is only slow needs a larger expect.silence_limit_s.",
        stage=None,
    )


def sign_of_limit(*, at_s: float, limit_s: float, last: str, has_host_keys: bool) -> SeenSign:
    """Return the sign that the boot's time limit is."""
    return SeenSign(
        id="boot-limit",
        meaning=f"nobody was logged in within {limit_s:g} s",
        text=last,
        at_s=at_s,
        hint=_quiet_hint(has_host_keys=has_host_keys)
        + " A machine that is only slow needs a larger expect.boot_limit_s.",
        stage=None,
    )


def _quiet_hint(*, has_host_keys: bool) -> str:
    if has_host_keys:
        return "The SSH server printed its host keys, but did not answer: is it started?"
    return (
        "The kernel needs console=ttyS0, and the machine must print its SSH host keys on the "
        "console (cloud-init does; or guest/ shows how), or nobody can log in safely."
    )


def sign_of_login(attempt: LoginAttempt, *, fetched: bool) -> SeenSign:
    """Return the sign that an SSH server is that will not let the owner of the key in.

    `fetched` tells whether the guest was given the key at all.
    """
    stage = StageName.SSH
    match attempt.outcome:
        case LoginOutcome.HOST_KEY_MISMATCH:
            sign_id = "host-key-mismatch"
            meaning = "the SSH server showed another host key than the console did"
            hint = "Print the host keys after they are made, and only those the server uses."
        case LoginOutcome.NO_AGREEMENT:
            sign_id = "ssh-no-agreement"
            meaning = "ssh and the machine's server share no algorithm"
            hint = "Let the server make an ed25519 host key, and offer current algorithms."
        case LoginOutcome.WRONG_ANSWER:
            sign_id = "ssh-wrong-answer"
            meaning = f"the SSH server took the key of {attempt.user}, but ran no command for it"
            hint = "Check expect.login_user, its shell, and `command=` in its authorized_keys."
        case _ if not fetched:
            stage = StageName.METADATA
            sign_id = "key-not-fetched"
            meaning = "the machine never asked the metadata service for the key, and refuses it"
            hint = (
                "Fetch http://169.254.169.254/latest/meta-data/public-keys/0/openssh-key when "
                "booting (cloud-init does), and look for the network in the lines above."
            )
        case _:
            sign_id = "ssh-refused-key"
            meaning = f"the SSH server refused the served key for user {attempt.user}"
            hint = (
                f"Put the metadata's public key into {attempt.user}'s authorized_keys (folder mode "
                "0700, file 0600, owned by that user), and check expect.login_user."
            )
    return SeenSign(
        id=sign_id,
        meaning=meaning,
        text=attempt.evidence.rpartition("\n")[2],
        at_s=attempt.at_s,
        hint=hint,
        stage=stage,
    )
