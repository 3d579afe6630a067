"""Where a recipe's packages come from: its mirrors, or those that mmdebstrap takes by default."""

import re
import shlex
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imgforge.command import run
from imgforge.errors import BadInputError, HostError
from imgforge.rootfs.lock import LockBase

_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<url>\S+)\s+(?P<rest>\S.*)")
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Mirror:
    """One line of sources.list(5): a URL, the suite and components there, and options."""

    url: str
    rest: str
    options: str = ""

    def line(self, options: str = "") -> str:
        """Return it as a line, with `options` where it has none of its own."""
        chosen = self.options or options
        bracket = f"[{chosen}] " if chosen else ""
        return f"deb {bracket}{self.url} {self.rest}"


def list_mirrors(base: LockBase) -> list[Mirror]:
    """Return the mirrors of `base`: its own, else mmdebstrap's for the suite.

    A mirror of a recipe is a URL, or a whole `deb` line. Raises BadInputError for what is neither.
    """
    if not base.mirrors:
        return _default_mirrors(base)
    plain = f"{base.suite} {' '.join(base.components)}"
    return [
        parse_line(text) if text.startswith("deb ") else Mirror(text, plain)
        for text in base.mirrors
    ]


def parse_line(line: str) -> Mirror:
    """Read a one-line source (sources.list(5)); raise BadInputError for what is none."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise BadInputError(
            f"Mirror {line!r}: a line of sources.list is `deb [options] URL suite components`."
        )
    return Mirror(match["url"], match["rest"], match["options"] or "")


def list_archives(mirrors: Iterable[Mirror]) -> list[str]:
    """Return the URLs of `mirrors`, each once, without a slash at the end, as apt writes them."""
    return list(dict.fromkeys(_normalise(mirror.url) for mirror in mirrors))


def split_uri(uri: str, archives: Iterable[str]) -> tuple[int, str]:
    """Return which of `archives` a package's URI is below, and its path there.

    Raises HostError where it is below none.
    """
    plain = _normalise(uri)
    for number, archive in enumerate(archives):
        if plain.startswith(f"{archive}/"):
            return number, plain.removeprefix(f"{archive}/")
    raise HostError(f"apt: {uri} is on none of the mirrors it was given.")


def _normalise(url: str) -> str:
    return re.sub(r"^(file|copy):/+", r"\1:/", url).rstrip("/")


def _default_mirrors(base: LockBase) -> list[Mirror]:
    """Ask mmdebstrap, which knows each distribution's, before it does anything else."""
    with tempfile.TemporaryDirectory(prefix="imgforge-") as folder:
        arguments = [
            "--quiet",
            "--mode=chrootless",  # nothing is unpacked or run: no privilege is needed
            "--variant=custom",
            "--skip=update",
            "--format=null",
            f"--components={','.join(base.components)}",
            f"--setup-hook=copy-out /etc/apt/sources.list {shlex.quote(folder)}",
            base.suite,
            "-",
        ]
        run("mmdebstrap", arguments, timeout_s=_LIMIT_S)
        lines = (Path(folder) / "sources.list").read_text(encoding="utf-8").splitlines()
    found = [parse_line(line) for line in lines if line.startswith("deb ")]
    # Its own choice of keys depends on what this host has; apt.py chooses them.
    return [Mirror(mirror.url, mirror.rest) for mirror in found]
