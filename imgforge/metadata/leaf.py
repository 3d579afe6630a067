"""One answer of the metadata service, before it has its place in a tree."""

import json
from collections.abc import Callable
from dataclasses import dataclass

Content = str | bytes | Callable[[], str]
"""What a path answers with: text, bytes, or what is only made when it is asked for."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What `path`, below a version, answers with; `category` is its row in CATEGORIES."""

    category: str
    path: str
    content: Content


def same(path: str, content: Content) -> Leaf:
    """Return the leaf of a category without parts that are the instance's own."""
    return Leaf(path, path, content)


def json_text(value: object) -> str:
    """Return a value in the form of EC2's longer JSON answers, its keys in their own order."""
    return json.dumps(value, indent=2, separators=(",", " : "))
