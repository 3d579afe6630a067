"""Somebody who has no business in the machine, and tries."""

import re
from dataclasses import dataclass
from pathlib import Path

from imgforge import command
from imgforge.command import Completed
from imgforge.testing.machine import Machine

_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=20",
    "ControlPath=none",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "LogLevel=ERROR",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
)
_LIMIT_S = 60.0
_DENIED = re.compile(r"Permission denied \(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the SSH server did: `methods` are the authentications it offers (RFC 4252)."""

    let_in: bool
    refused: bool
    methods: tuple[str, ...]
    said: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """Tries to log in to a machine by SSH; `key` is the file of a private key of its own."""

    machine: Machine
    key: Path

    def try_key(self, user: str) -> Answer:
        """Try the key that nobody was told of."""
        return self._try(user, "PreferredAuthentications=publickey", f'IdentityFile="{self.key}"')

    def try_nothing(self, user: str) -> Answer:
        """Ask to be let in for nothing, which tells what else would do."""
        return self._try(user, "PreferredAuthentications=none")

    def _try(self, user: str, *options: str) -> Answer:
        words = [word for option in (*_OPTIONS, *options) for word in ("-o", option)]
        target = ["-F", "/dev/null", "-T", "-p", str(self.machine.ssh.port), f"{user}@127.0.0.1"]
        done: Completed = command.run(
            "ssh",
            [*words, *target, "echo let in"],
            timeout_s=_LIMIT_S,
            accepted_exit_codes=range(256),
        )
        said = done.stderr.decode(errors="replace").strip()
        denied = _DENIED.search(said)
        return Answer(
            let_in=done.exit_code == 0 or b"let in" in done.stdout,
            refused=denied is not None,
            methods=tuple(denied[1].split(",")) if denied else (),
            said=said,
        )
