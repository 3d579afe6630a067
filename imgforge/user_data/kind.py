"""The kinds of user data that cloud-init knows, and what a guest does with each.

Sources: cloud-init's documentation ("User data formats", "Boot stages") and what version 22.4.2,
Debian 12's, does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Stage(StrEnum):
    """The stage of cloud-init's boot in which a part takes effect."""

    INIT = "init"
    CONFIG = "config"
    FINAL = "final"
    NEVER = "never"


class Frequency(StrEnum):
    """How often a part takes effect."""

    EVERY_BOOT = "every boot"
    PER_INSTANCE = "once per instance"
    ONCE = "once in the disk's life"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of part: `beginning` is what its first line begins with, "" where only MIME says it.

    `handler` is what deals with it, `does` what that does, for people.
    """

    mime_type: str
    beginning: str
    handler: str
    stage: Stage
    frequency: Frequency
    does: str


UNKNOWN = Kind(
    "", "", "none", Stage.NEVER, Frequency.NEVER, "ignored: cloud-init warns of it in its log"
)
SCRIPT = Kind(
    "text/x-shellscript",
    "#!",
    "scripts-user",
    Stage.FINAL,
    Frequency.PER_INSTANCE,
    "run as root when all else is done, in the order of the parts' names",
)
_SCRIPT_EVERY_BOOT = Kind(
    "text/x-shellscript-per-boot",
    "",
    "scripts-per-boot",
    Stage.FINAL,
    Frequency.EVERY_BOOT,
    "kept in scripts/per-boot and run as root at each boot",
)
_SCRIPT_PER_INSTANCE = Kind(
    "text/x-shellscript-per-instance",
    "",
    "scripts-per-instance",
    Stage.FINAL,
    Frequency.PER_INSTANCE,
    "kept in scripts/per-instance and run as root for each new instance",
)
_SCRIPT_ONCE = Kind(
    "text/x-shellscript-per-once",
    "",
    "scripts-per-once",
    Stage.FINAL,
    Frequency.ONCE,
    "kept in scripts/per-once and run as root a single time",
)
CLOUD_CONFIG = Kind(
    "text/cloud-config",
    "#cloud-config",
    "cloud-config",
    Stage.CONFIG,
    Frequency.PER_INSTANCE,
    "merged into the configuration; most modules act once per instance, bootcmd at each boot",
)
_JSON_PATCH = Kind(
    "text/cloud-config-jsonp",
    "#cloud-config-jsonp",
    "cloud-config",
    Stage.CONFIG,
    Frequency.PER_INSTANCE,
    "a JSON patch of the cloud-config before it",
)
BOOTHOOK = Kind(
    "text/cloud-boothook",
    "#cloud-boothook",
    "boothook",
    Stage.INIT,
    Frequency.EVERY_BOOT,
    "run at once, before any module; INSTANCE_ID is in its environment",
)
INCLUDE = Kind(
    "text/x-include-url",
    "#include",
    "include",
    Stage.INIT,
    Frequency.EVERY_BOOT,
    "its URLs are fetched when user data is read, and what they answer is handled alike",
)
_INCLUDE_ONCE = Kind(
    "text/x-include-once-url",
    "#include-once",
    "include",
    Stage.INIT,
    Frequency.PER_INSTANCE,
    "its URLs are fetched once and kept, and what they answer is handled alike",
)
PART_HANDLER = Kind(
    "text/part-handler",
    "#part-handler",
    "part-handler",
    Stage.INIT,
    Frequency.PER_INSTANCE,
    "a Python module that handles the parts after it of the types it lists",
)
JINJA = Kind(
    "text/jinja2",
    "## template: jinja",
    "jinja",
    Stage.INIT,
    Frequency.EVERY_BOOT,
    "a template, filled in from the instance's data, then handled as its second line says",
)
ARCHIVE = Kind(
    "text/cloud-config-archive",
    "#cloud-config-archive",
    "cloud-config-archive",
    Stage.INIT,
    Frequency.PER_INSTANCE,
    "a list in YAML, each entry a part of its own",
)
UPSTART = Kind(
    "text/upstart-job",
    "#upstart-job",
    "none",
    Stage.NEVER,
    Frequency.NEVER,
    "ignored: upstart is gone, and cloud-init's handler with it (since 22.3)",
)
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.mime_type: kind
        for kind in (
            SCRIPT,
            _SCRIPT_EVERY_BOOT,
            _SCRIPT_PER_INSTANCE,
            _SCRIPT_ONCE,
            CLOUD_CONFIG,
            _JSON_PATCH,
            BOOTHOOK,
            INCLUDE,
            _INCLUDE_ONCE,
            PART_HANDLER,
            JINJA,
            ARCHIVE,
            UPSTART,
        )
    }
)
"""All kinds by their MIME type."""
INCLUDES = frozenset({INCLUDE, _INCLUDE_ONCE})
SCRIPTS = frozenset({SCRIPT, _SCRIPT_EVERY_BOOT, _SCRIPT_PER_INSTANCE, _SCRIPT_ONCE})
CLOUD_CONFIGS = frozenset({CLOUD_CONFIG})
# "#cloud-config-archive" before "#cloud-config".
_BY_BEGINNING = sorted(
    (kind for kind in KINDS.values() if kind.beginning), key=lambda kind: -len(kind.beginning)
)


def kind_of_text(text: str) -> Kind:
    """Return the kind that a text's beginning tells, as cloud-init would; UNKNOWN where none.

    White space before it and the case of its letters do not count.
    """
    beginning = text[:4096].lstrip().lower() or text.lstrip()[:4096].lower()
    for kind in _BY_BEGINNING:
        if beginning.startswith(kind.beginning):
            return kind
    return UNKNOWN


def kind_named(name: str) -> Kind | None:
    """Return the kind of a MIME type, with or without its "text/" or "x-"; None for no kind."""
    short = name.strip().lower()
    for mime_type in (short, f"text/{short}", f"text/x-{short}"):
        if mime_type in KINDS:
            return KINDS[mime_type]
    return None
