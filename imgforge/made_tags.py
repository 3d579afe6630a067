"""Tags of EC2's resources: those a person gives, and those by which imgforge knows what it made."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping

from imgforge.errors import BadInputError

MADE = "imgforge:made"
"""What of imgforge made it: register, copy, upload, …; what has no such tag is left alone."""
WORK = "imgforge:work"
"""Of which work it is: the same wish has the same value, so that a second run finds it."""
UNFINISHED = "imgforge:unfinished"
"""On what a command made and is not done with; it goes when the command is."""
SHA256 = "imgforge:sha256"
"""The SHA-256 of the raw disk."""
VERDICT = "imgforge:verdict"
"""`accepted`, or `unverified` where no accepted verdict names the disk."""
VERDICT_SHA256 = "imgforge:verdict-sha256"
"""The SHA-256 of the verdict, as JSON without spaces and by sorted names."""
SIZE_BYTES = "imgforge:size-bytes"
"""The size of the raw disk: a volume is rounded up to GiB."""
LAYOUT = "imgforge:layout"
"""The disk's layout, such as hvm-mbr."""
RECIPE_SHA256 = "imgforge:recipe-sha256"
"""What the disk was built from."""
LOCK_SHA256 = "imgforge:lock-sha256"
"""The packages that the disk was built from."""

ACCEPTED = "accepted"
UNVERIFIED = "unverified"

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PREFIX = "imgforge:"
_MOST_TAGS = 50
_MOST_KEY_CHARACTERS = 128
_MOST_VALUE_CHARACTERS = 256


def work_digest(*wish: str | int | None) -> str:
    """Return what tells one work from another: 32 hexadecimal digits, also good as a ClientToken.

    EC2 takes tokens of at most 64 ASCII characters.
    """
    return hashlib.sha256(json.dumps(wish).encode()).hexdigest()[:32]


def is_made(tags: Mapping[str, str]) -> bool:
    """Tell whether imgforge made what has these tags."""
    return MADE in tags


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that are a person's, and not of imgforge or AWS."""
    return {key: tags[key] for key in tags if not key.startswith((_PREFIX, "aws:"))}


def disk_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that tell of the disk: they are as true of a copy as of the image itself."""
    marks = {MADE, WORK, UNFINISHED}
    return {key: tags[key] for key in tags if key.startswith(_PREFIX) and key not in marks}


def parse_tags(texts: Iterable[str]) -> dict[str, str]:
    """Return the tags that KEY=VALUE texts say; a value may have = in it, or be empty.

    Raises BadInputError for what EC2 would refuse (EC2 User Guide, Tag restrictions).
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInputError(
                f"Tag {text!r}: has no value; KEY=VALUE is needed.",
                hint="An empty value is KEY= with nothing behind it.",
            )
        check_key(key)
        if len(value) > _MOST_VALUE_CHARACTERS:
            raise BadInputError(
                f"Tag {key!r}: its value has {len(value)} characters; at most "
                f"{_MOST_VALUE_CHARACTERS} are allowed."
            )
        _check_characters(f"Tag {key!r}: its value", value)
        if found.get(key, value) != value:
            raise BadInputError(f"Tag {key!r}: is given twice, with two values.")
        found[key] = value
    if len(found) > _MOST_TAGS:
        raise BadInputError(f"Tags: {len(found)} are given; a resource has at most {_MOST_TAGS}.")
    return found


def check_key(key: str) -> None:
    """Raise BadInputError for what cannot be the key of a tag that a person gives or takes."""
    if not 1 <= len(key) <= _MOST_KEY_CHARACTERS:
        raise BadInputError(
            f"Tag {key[:40]!r}: its key has {len(key)} characters; 1 to {_MOST_KEY_CHARACTERS} "
            "are allowed."
        )
    if key.lower().startswith("aws:"):
        raise BadInputError(f"Tag {key!r}: keys that begin with aws: are AWS's own.")
    if key.lower().startswith(_PREFIX):
        raise BadInputError(
            f"Tag {key!r}: keys that begin with {_PREFIX} are imgforge's own.",
            hint="They say what a disk is and whether it was accepted; nobody else may.",
        )
    _check_characters(f"Tag {key!r}: its key", key)


def no_request_carries(text: str) -> str:
    """Return the first character that EC2's answers cannot have, "" where there is none.

    They are XML 1.0 (https://www.w3.org/TR/xml/#charsets): no control character but tabs and ends
    of lines, no half of a pair, no U+FFFE.
    """
    wrong = _NO_XML.search(text)
    return wrong[0] if wrong else ""


def _check_characters(what: str, text: str) -> None:
    wrong = no_request_carries(text) or next((one for one in text if one in "\n\r"), "")
    if wrong:  # ends of lines EC2 takes; in a person's tag they are a slip
        raise BadInputError(f"{what} has {wrong!r} in it, which no request can carry.")
