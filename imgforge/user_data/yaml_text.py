"""YAML as cloud-init reads it, taken no further than its nodes.

Values are not made of them: a few lines of merge keys (`<<`) become more of those than memory has.
"""

import yaml

LARGEST_CHARACTERS = 256 * 1024
"""Larger texts are not looked at: the library needs some seconds for them."""


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
    for node in _nodes(root):
        if node.tag not in yaml.SafeLoader.yaml_constructors:
            line = node.start_mark.line + 1
            raise NotYamlError(
                f"line {line}: the tag {node.tag[:60]!r}, which is not of plain YAML"
            )
    return root


def text_of(node: yaml.Node | None) -> str | None:
    """Return a text; None for any other value, such as a number or a list."""
    is_text = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str"
    return str(node.value) if is_text and node is not None else None


def pairs(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return a mapping's values by those keys that are single values; the last one counts."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _nodes(root: yaml.Node | None) -> list[yaml.Node]:
    """Return each node once, though anchors may name it often."""
    found: dict[int, yaml.Node] = {}
    waiting = [root] if root is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) in found:
            continue
        found[id(node)] = node
        if isinstance(node, yaml.MappingNode):
            waiting += [inner for pair in node.value for inner in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return list(found.values())


def _told(text: str, problem: yaml.YAMLError) -> NotYamlError:
    mark = getattr(problem, "problem_mark", None)
    what = " ".join(str(getattr(problem, "problem", "") or problem).split())
    if mark is None:
        return NotYamlError(what)
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = "YAML takes no tabs to indent: use spaces." if "\t" in line else ""
    return NotYamlError(f"line {mark.line + 1}, column {mark.column + 1}: {what}", hint=hint)
