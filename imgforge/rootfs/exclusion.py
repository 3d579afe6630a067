"""Which paths of a package or an archive are left out."""

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Shell patterns as in dpkg's path-exclude: "*" matches "/" too (dpkg(1))."""

    expression: re.Pattern[str]

    def covers(self, path: str) -> bool:
        """Tell whether a path of the tree, such as "usr/share/doc/x", is left out."""
        return self.expression.match("/" + path.removeprefix("./").strip("/")) is not None


def exclude(patterns: Iterable[str]) -> Exclusion:
    """Make one matcher of many patterns; none of them: nothing is left out."""
    translated = [fnmatch.translate("/" + pattern.lstrip("/")) for pattern in patterns]
    return Exclusion(re.compile("|".join(translated) or r"(?!)", re.DOTALL))
