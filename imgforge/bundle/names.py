"""Names in a bundle: what may become a file's name, and what a shell would leave alone."""

import re

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+,=@-]{0,89}")
_PART = re.compile(r"(?P<name>.+)\.part\.[0-9]{1,6}")
_ACCOUNT = re.compile(r"[0-9]{12}")
MANIFEST_SUFFIX = ".manifest.xml"
NAME_RULE = (
    "at most 90 letters, digits and any of _ . + , = @ -, the first a letter, a digit or an _"
)


def is_safe_name(text: str) -> bool:
    """Tell whether text may be the name of a bundle: no folder, nothing for a shell.

    A tar header holds names of at most 100 bytes.
    """
    return _NAME.fullmatch(text) is not None


def is_safe_part_name(text: str) -> bool:
    """Tell whether text may be the name of a part: NAME.part.<digits>."""
    found = _PART.fullmatch(text)
    return found is not None and is_safe_name(found["name"])


def part_name(name: str, *, index: int, count: int) -> str:
    """Return a part's name: its number is padded to the digits of the count, as the original's."""
    return f"{name}.part.{index:0{len(str(count))}d}"


def is_part_of(file_name: str, name: str) -> bool:
    """Tell whether a file's name is that of a part of the bundle `name`."""
    found = _PART.fullmatch(file_name)
    return found is not None and found["name"] == name


def is_account(text: str) -> bool:
    """Tell whether text is an AWS account's number: twelve digits."""
    return _ACCOUNT.fullmatch(text) is not None
