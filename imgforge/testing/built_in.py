"""The tests that come with imgforge: where they are, and what they are called."""

import ast
from collections.abc import Iterator
from pathlib import Path

SUITE_PACKAGE = "imgforge.testing.suite"
SUITE_FOLDER = Path(__file__).parent / "suite"
RESULT_SIGN = "imgforge-test: "
"""What a line on the stderr of a test run begins with that tells of a test."""


def suite_tests() -> dict[str, str]:
    """Return the built-in tests: name as in a verdict, without "suite:" → how pytest names it."""
    return {
        check_name(node.name): f"{SUITE_PACKAGE}.{path.stem}::{node.name}"
        for path, node in _functions()
    }


def functions_using(fixture: str) -> frozenset[str]:
    """Return the function names of the built-in tests that use a fixture."""
    return frozenset(
        node.name
        for _, node in _functions()
        if fixture in (argument.arg for argument in node.args.args)
    )


def _functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path in sorted(SUITE_FOLDER.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield path, node


def check_name(function: str) -> str:
    """Return how a verdict names a built-in test, without its "suite:"."""
    return function.removeprefix("test_").replace("_", "-")
