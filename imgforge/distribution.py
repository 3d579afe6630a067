"""Which distribution this host runs, as far as its packages' names follow from it."""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_OS_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


class Family(StrEnum):
    """Distributions that name their packages alike."""

    DEBIAN = "debian"
    FEDORA = "fedora"
    ARCH = "arch"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Distribution:
    """This system's name and the family its package names follow (os-release(5))."""

    name: str
    family: Family


def read_distribution() -> Distribution:
    """Return the one that this host runs."""
    for path in _OS_RELEASE:
        try:
            return parse_os_release(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return Distribution("unknown", Family.OTHER)


def parse_os_release(text: str) -> Distribution:
    """Read os-release(5): a name to show, and the family from ID and ID_LIKE."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        try:
            values[key] = "".join(shlex.split(value)[:1])
        except ValueError:  # an open quote
            continue
    families = {str(family): family for family in Family}
    ids = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    found = next((families[name] for name in ids if name in families), Family.OTHER)
    return Distribution(values.get("PRETTY_NAME") or values.get("ID") or "unknown", found)
