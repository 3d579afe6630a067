"""Every command and option that a message names is one that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import imgforge
from imgforge.cli.app import app

SOURCE = Path(imgforge.__file__).parent
ROOT = typer.main.get_command(app)
# What follows the program's name where it is the subject of a sentence.
VERBS = {
    "brings",
    "calls",
    "can",
    "deleted",
    "did",
    "ended",
    "failed",
    "is",
    "itself",
    "knows",
    "local",
    "made",
    "makes",
    "or",
    "removed",
    "signing",
    "then",
    "uses",
    "warns",
    "writes",
    "wrote",
}
NAMED = re.compile(
    r"\bimgforge((?: [a-z][a-z0-9-]*)+)((?:[ ,](?:--[a-z][a-z0-9-]*|[A-Z\0<{][^ ]*))*)"
)


def texts_of(tree: ast.AST) -> Iterator[str]:
    """Yield what a module may say: its strings, with NUL where a value is put in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [one.value if isinstance(one, ast.Constant) else "\0" for one in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def problem_of(words: list[str], options: list[str]) -> str:
    """Return what is wrong with a command line that a text names, "" for nothing."""
    command: Any = ROOT
    for word in words:
        known = getattr(command, "commands", {})
        if not known:
            break
        if word.startswith("ami-"):  # `imgforge images ami-…` shows it
            break
        if word not in known:
            return f"no command {word!r} of {command.name or 'imgforge'}"
        command = known[word]
    has = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    missing = [one for one in options if one not in has and one != "--help"]
    return f"{command.name} has no {missing[0]}" if missing else ""


def named_in(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the words and options of each command that a text names."""
    for match in NAMED.finditer(text):
        words = match[1].split()
        if words[0] not in VERBS:
            yield words, re.findall(r"--[a-z][a-z0-9-]*", match[2])


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_the_commands_that_a_module_names_are_there(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for text in texts_of(tree):
        for words, options in named_in(text):
            assert not problem_of(words, options), text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("(imgforge aki list)", "no command 'list' of aki"),
        ("imgforge aki find lists them", ""),
        ("imgforge images gc --dry-run tells", ""),
        ("imgforge images gc --try-run", "gc has no --try-run"),
        ("imgforge images show \0 --nothing", "show has no --nothing"),
        ("imgforge writes it", None),
    ],
)
def test_what_is_not_there_is_found(text: str, problem: str | None) -> None:
    found = [problem_of(words, options) for words, options in named_in(text)]
    assert found == ([] if problem is None else [problem])
