"""The trees of one instance, one for each version: folders and what they answer with.

A listing is made from the tree, so it names only what is answered: cloud-init tries again for
minutes when something listed then answers 404.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Union

from imgforge.metadata.categories import CATEGORIES
from imgforge.metadata.identity import dynamic_leaves
from imgforge.metadata.instance import Instance
from imgforge.metadata.interfaces import interface_leaves
from imgforge.metadata.leaf import Content, Leaf, same
from imgforge.metadata.meta_data import meta_data_leaves
from imgforge.metadata.signer import Signer
from imgforge.metadata.versions import VERSIONS, has

Node = Union[Content, "Folder"]
_Nested = dict[str, Union[Content, "_Nested"]]
_KEYS = ("meta-data", "public-keys")


@dataclass(frozen=True, slots=True)
class Folder:
    """What stands below a path, in the order of its listing, which is a line for each."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trees:
    """All that is answered of an instance: `by_version` has the tree below `/VERSION/`.

    `last_modified` is its launch, as HTTP writes a time.
    """

    instance: Instance
    last_modified: str
    by_version: Mapping[str, Folder]


def leaves(instance: Instance, signer: Signer | None = None) -> Iterator[Leaf]:
    """Yield every leaf of today's version."""
    yield from meta_data_leaves(instance)
    yield from interface_leaves(instance)
    yield from dynamic_leaves(instance, signer)
    if instance.user_data:  # EC2 knows no empty user data: it answers 404
        yield same("user-data", instance.user_data)


def grow(instance: Instance, signer: Signer | None = None) -> Trees:
    """Return the trees of an instance; takes a few milliseconds."""
    found = sorted(leaves(instance, signer), key=lambda leaf: leaf.path)
    names = tuple(instance.public_keys)
    return Trees(
        instance,
        format_datetime(instance.launched, usegmt=True),
        {
            version: _fold(
                [leaf for leaf in found if has(version, CATEGORIES[leaf.category].since)], names
            )
            for version in VERSIONS
        },
    )


def find(tree: Folder, path: str) -> Node | None:
    """Return what stands at `path` below `tree`, or None.

    A slash at the end changes nothing, neither at a folder nor at a text, and nothing is
    redirected: so does EC2 (kiam#383, aws-sdk-rust#560), and clients rely on it: botocore asks for
    `placement/availability-zone/`. Only Xen hosts of 2018 and before sent a 301 to the slash.
    """
    node: Node = tree
    for part in path.removesuffix("/").split("/"):
        if not isinstance(node, Folder) or part not in node.nodes:
            return None
        node = node.nodes[part]
    return node


def _fold(found: Iterable[Leaf], key_names: tuple[str, ...]) -> Folder:
    below: _Nested = {}
    for leaf in found:
        *folders, last = leaf.path.split("/")
        inner = below
        for name in folders:
            deeper = inner.setdefault(name, {})
            assert isinstance(deeper, dict), leaf.path
            inner = deeper
        inner[last] = leaf.content
    return _folder(below, (), key_names)


def _folder(below: _Nested, above: tuple[str, ...], key_names: tuple[str, ...]) -> Folder:
    if above == _KEYS:  # by number: the tenth key comes after the second
        names = sorted(below, key=int)
        lines = [f"{name}={key_names[int(name)]}" for name in names]
    else:  # on EC2 the listing of a version has no slashes
        names = sorted(below)
        lines = [f"{name}/" if above and isinstance(below[name], dict) else name for name in names]
    nodes: dict[str, Node] = {}
    for name in names:
        inner = below[name]
        if isinstance(inner, dict):
            nodes[name] = _folder(inner, (*above, name), key_names)
        else:
            nodes[name] = inner
    return Folder(nodes, tuple(lines))
