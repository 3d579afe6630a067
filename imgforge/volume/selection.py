"""What of a tree goes into an image, and a record of all that does not."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from imgforge.errors import BadInputError
from imgforge.rootfs import EntryKind, Reader, TreeEntry
from imgforge.volume.content import Content
from imgforge.volume.secrets import Secret, Suspicion, hidden, is_searched, suspect

EMPTIED = ("dev", "media", "mnt", "proc", "sys")
"""Folders that stay, and whose content does not, as with the AMI tools."""
_MOST_SHOWN = 10
_SURPRISING_BYTES = 2**16


class Cause(StrEnum):
    """Why a path is left out, other than by the filter."""

    ALWAYS = "always"
    ASKED = "asked"
    MOUNT = "mount"
    OWN = "bundle"
    SOCKET = "socket"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A path that is not in the image, with all below it, and why."""

    path: str
    cause: Cause | Secret


@dataclass(frozen=True, slots=True)
class Rules:
    """What is left out of a tree; all paths are relative to it.

    `excluded` go away themselves, of `emptied` only the content; `mounts` are emptied, too. Of the
    folder `bundle_folder` what a bundle consists of stays out. `included` are names or shell
    patterns that the filter lets through; without `filtered` it lets all through.
    """

    excluded: Collection[str] = ()
    emptied: Collection[str] = EMPTIED
    mounts: Mapping[str, str] = field(default_factory=dict)
    bundle_folder: str | None = None
    included: Collection[str] = ()
    filtered: bool = True


class Selection(Reader):
    """Decides by `rules`, and keeps account: of what is left out, unreadable, or written to.

    `held` are the files with several names of which the filter held one back, and what they are.
    `surprising` are large files left out for what is in them: data, most likely, with a key in it.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.left_out: list[LeftOut] = []
        self.changed: list[str] = []
        self.surprising: list[str] = []
        self.held: dict[tuple[int, int], Secret] = {}
        self._unreadable: dict[str, str] = {}
        self._excluded = frozenset(rules.excluded)
        self._emptied = frozenset((*rules.emptied, *rules.mounts))
        self._own = _own_pattern(rules.bundle_folder)
        self._included = [_include_pattern(text) for text in rules.included]
        self._used: set[int] = set()
        self._met: set[str] = set()

    def keeps(self, entry: TreeEntry, identity: tuple[int, int] | None = None) -> bool:
        """Tell whether a path is kept, by its name."""
        path = entry.path
        cause: Cause | Secret | None = None
        if path in self._excluded:
            self._met.add(path)
            cause = Cause.ASKED
        elif self._own is not None and self._own.fullmatch(path):
            cause = Cause.OWN
        elif (found := self._suspect(entry)) is not None and found.clears is None:
            cause = found.kind
            self._hold(identity, found.kind)
        if cause is not None:
            self.left_out.append(LeftOut(path, cause))
        return cause is None

    def looks_into(self, entry: TreeEntry, identity: tuple[int, int] | None) -> bool:
        """Tell whether a file's content counts; it does where another name may make it count."""
        if not self.rules.filtered:
            return False
        return identity is not None or is_searched(entry.path) or suspect(entry.path) is not None

    def keeps_content(
        self, entry: TreeEntry, content: Content, *, identity: tuple[int, int] | None = None
    ) -> bool:
        """Tell whether a file is kept, by all its content."""
        if not self.rules.filtered:
            return True
        found = self._suspect(entry)
        if found is not None:
            is_clear = found.clears is not None and found.clears(content)
            cause = None if is_clear else found.kind
        else:
            cause = hidden(entry.path, content)
        if cause is None or self._is_included(entry):
            return True
        self._hold(identity, cause)
        self.left_out.append(LeftOut(entry.path, cause))
        if found is None and content.size_bytes > _SURPRISING_BYTES:
            self.surprising.append(entry.path)
        return False

    def keeps_link(self, entry: TreeEntry, identity: tuple[int, int]) -> bool:
        """Tell whether a file is kept under a name, once all its names were seen."""
        cause = self.held.get(identity)
        if cause is None or self._is_included(entry):
            return True
        self.left_out.append(LeftOut(entry.path, cause))
        return False

    def _hold(self, identity: tuple[int, int] | None, kind: Secret) -> None:
        """Note what further names of a file give away; an editor's copy does not."""
        if identity is not None and kind is not Secret.EDITOR:
            self.held.setdefault(identity, kind)

    def enters(self, path: str) -> bool:
        """Tell whether a folder keeps its content."""
        if path not in self._emptied:
            return True
        cause = Cause.ALWAYS if path in self.rules.emptied else Cause.MOUNT
        self.left_out.append(LeftOut(f"{path}/*", cause))
        return False

    def unreadable(self, path: str, error: OSError) -> None:
        """Take note of a path that cannot be read."""
        self._unreadable[path] = error.strerror or str(error)

    def passed_over(self, path: str, why: str) -> None:
        """Take note of a socket, or of what has gone meanwhile."""
        self.left_out.append(LeftOut(path, Cause(why)))

    def require_readable(self, origin: str) -> None:
        """Raise BadInputError, naming what could not be read, where there was anything."""
        if not self._unreadable:
            return
        shown = [f"/{path}: {why}" for path, why in list(self._unreadable.items())[:_MOST_SHOWN]]
        more = len(self._unreadable) - len(shown)
        raise BadInputError(
            f"{origin}: {len(self._unreadable)} paths cannot be read:\n  "
            + "\n  ".join(map(_printable, shown))
            + (f"\n  and {more} more" if more else ""),
            hint="Run it as root, or leave them out with --exclude (-e).",
        )

    def unmet_exclusions(self) -> list[str]:
        """Return what was to be left out and was not there to be: nothing above it was, either."""
        gone = [one.path.removesuffix("/*") for one in self.left_out]
        return [
            path
            for path in self._excluded - self._met
            if not any(path.startswith(f"{above}/") for above in gone)
        ]

    def unused_inclusions(self) -> list[str]:
        """Return what was to be let through, and no filter held back."""
        return [text for index, text in enumerate(self.rules.included) if index not in self._used]

    def counts(self) -> dict[str, int]:
        """Return how many paths were left out for each cause."""
        return dict(sorted(Counter(str(one.cause) for one in self.left_out).items()))

    def _suspect(self, entry: TreeEntry) -> Suspicion | None:
        """Return what the filter makes of a name; a symbolic link holds nothing of its own."""
        if not self.rules.filtered or entry.kind is EntryKind.SYMLINK:
            return None
        found = suspect(entry.path)
        if found is None or (entry.kind is EntryKind.DIRECTORY and found.clears is not None):
            return None
        return None if self._is_included(entry) else found

    def _is_included(self, entry: TreeEntry) -> bool:
        for index, (pattern, literal) in enumerate(self._included):
            below = literal.startswith(f"{entry.path}/") and entry.kind is EntryKind.DIRECTORY
            if below or pattern.match(entry.path) is not None:
                self._used.add(index)
                return True
        return False


def _include_pattern(text: str) -> tuple[re.Pattern[str], str]:
    """Return what matches an inclusion and all below it: a path, or a pattern as the filter's.

    One that begins with "/" is a path from the top; another one matches the end of a path.
    """
    words = text.strip("/")
    expression = "".join(
        "[^/]*" if letter == "*" else "[^/]" if letter == "?" else re.escape(letter)
        for letter in words
    )
    start = r"\A" if text.startswith("/") else r"(?:\A|.*/)"
    return re.compile(rf"{start}{expression}(?:/|\Z)", re.DOTALL), words


def _own_pattern(folder: str | None) -> re.Pattern[str] | None:
    """Match what bundles in `folder` consist of, and what is made there meanwhile."""
    if folder is None:
        return None
    place = "" if folder in {"", "."} else re.escape(folder.strip("/")) + "/"
    own = r"[^/]*\.manifest\.xml|[^/]*\.part\.[0-9]+|\.imgforge-aside-[^/]*"
    return re.compile(rf"{place}(?:{own})", re.DOTALL)


def _printable(text: str) -> str:
    shown = text.encode(errors="surrogateescape").decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def summarize(left_out: Iterable[LeftOut]) -> str:
    """Say in words how many paths were left out, and why."""
    counts = Counter(one.cause for one in left_out)
    return ", ".join(f"{count} {_WORDS[cause]}" for cause, count in sorted(counts.items()))


_WORDS: dict[Cause | Secret, str] = {
    Cause.ALWAYS: "folders emptied as always",
    Cause.ASKED: "excluded as asked",
    Cause.MOUNT: "other file systems",
    Cause.OWN: "bundle files",
    Cause.SOCKET: "sockets",
    Cause.VANISHED: "gone meanwhile",
    Secret.PRIVATE_KEY: "private keys or key stores",
    Secret.LOGIN_KEY: "authorized_keys",
    Secret.CREDENTIALS: "credentials",
    Secret.HISTORY: "histories",
    Secret.EDITOR: "editors' swap files and copies",
}
