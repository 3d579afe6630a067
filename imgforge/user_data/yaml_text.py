"""YAML as cloud-init reads it, taken no further than its nodes.

Values are not made of them: a few lines of merge keys (`<<`) become more of those than memory has.
"""

import yaml

LARGEST_CHARACTERS = 256 * 1024
"""Larger texts are not looked at: the library needs some seconds for them."""
_MOST_MERGED = 100_000
MERGE_TAG = "tag:yaml.org,2002:merge"
"""A key that stands for those of another mapping, or of several (`<<`)."""
_VALUE_TAG = "tag:yaml.org,2002:value"
_MAPPING_TAGS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:set"})


class NotYamlError(ValueError):
    """A text that cloud-init could not read; its words say where and why."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def compose(text: str) -> yaml.Node | None:
    """Return the root node of a YAML text, None of an empty one. Raises NotYamlError."""
    if len(text) > LARGEST_CHARACTERS:
        found = f"{len(text)} characters"
        raise NotYamlError(f"{found}, more than is looked at ({LARGEST_CHARACTERS})")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as problem:
        raise _told(text, problem) from None
    except (ValueError, RecursionError) as problem:
        deep = isinstance(problem, RecursionError)
        raise NotYamlError(
            "values within values without an end" if deep else str(problem)
        ) from None
    nodes = _nodes(root)
    keys = _special_keys(nodes)
    for node in nodes:
        if node.tag not in yaml.SafeLoader.yaml_constructors and id(node) not in keys:
            raise NotYamlError(
                f"{_line(node)}: the tag {node.tag[:60]!r}, which is not of plain YAML"
            )
    _require_few(nodes)
    return root


def text_of(node: yaml.Node | None) -> str | None:
    """Return a text; None for any other value, such as a number or a list."""
    is_text = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"
    return str(node.value) if is_text and node is not None else None


def pairs(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return a mapping's values by those keys that are single values; the last one counts.

    Its own go before those that it merges (`<<`), and of these the first.
    """
    found: dict[str, yaml.Node] = {}
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        mapping = waiting.pop()
        if not isinstance(mapping, yaml.MappingNode) or id(mapping) in seen:
            continue
        seen.add(id(mapping))
        own = {
            str(key.value): value
            for key, value in mapping.value
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE_TAG
        }
        found = {**own, **found}
        waiting += reversed(_merged(mapping))
    return found


def _merged(mapping: yaml.MappingNode) -> list[yaml.Node]:
    """Return what a mapping merges, what counts most first: the last `<<`, there the first one."""
    found: list[yaml.Node] = []
    for key, value in mapping.value:
        if key.tag == MERGE_TAG:
            found[:0] = value.value if isinstance(value, yaml.SequenceNode) else [value]
    return found


def _special_keys(nodes: list[yaml.Node]) -> set[int]:
    """Return the ids of the keys `<<` and `=`, as the library's flatten_mapping takes them."""
    found: set[int] = set()
    for node in nodes:
        if not isinstance(node, yaml.MappingNode) or node.tag not in _MAPPING_TAGS:
            continue
        for key, _ in node.value:
            if key.tag in {MERGE_TAG, _VALUE_TAG}:
                found.add(id(key))
        for merged in _merged(node):
            if not isinstance(merged, yaml.MappingNode):
                raise NotYamlError(f"{_line(merged)}: `<<` merges what is no mapping")
    return found


def _require_few(nodes: list[yaml.Node]) -> None:
    """Raise NotYamlError where merge keys become more than the library has memory for.

    `nodes` has what is within a node before it.
    """
    counts: dict[int, int] = {}
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            merged = sum(counts[id(inner)] for inner in _merged(node) if id(inner) in counts)
            counts[id(node)] = len(node.value) + merged
            if merged > _MOST_MERGED:
                raise NotYamlError(f"{_line(node)}: {merged} keys by `<<`, more than it can hold")


def _nodes(root: yaml.Node | None) -> list[yaml.Node]:
    """Return each node once, though anchors may name it often, and what is within it before it.

    Raises NotYamlError for one that is within itself.
    """
    found: dict[int, yaml.Node] = {}
    above: set[int] = set()
    waiting = [(root, False)] if root is not None else []
    while waiting:
        node, is_done = waiting.pop()
        if is_done:
            above.discard(id(node))
            found[id(node)] = node
        elif id(node) in above:
            raise NotYamlError(f"{_line(node)}: an alias stands within what it names")
        elif id(node) not in found:
            above.add(id(node))
            waiting.append((node, True))
            waiting += [(inner, False) for inner in _within(node)]
    return list(found.values())


def _within(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [inner for pair in node.value for inner in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _told(text: str, problem: yaml.YAMLError) -> NotYamlError:
    mark = getattr(problem, "problem_mark", None)
    what = " ".join(str(getattr(problem, "problem", "") or problem).split())
    if mark is None:
        return NotYamlError(what)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = "YAML takes no tabs to indent: use spaces." if "\t" in line else ""
    return NotYamlError(f"line {mark.line + 1}, column {mark.column + 1}: {what}", hint=hint)
