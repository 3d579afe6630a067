"""A recipe is read from its file."""

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from imgforge.recipe import Recipe, RecipeFile
from imgforge.toml_file import TomlForm

_SOURCE_KINDS = ("packages", "folder", "tar")


@cache
def _form() -> TomlForm[Recipe]:
    return TomlForm(
        "Recipe",
        TypeAdapter(Recipe),
        hint="imgforge recipe schema prints all that is allowed.",
        tags=_SOURCE_KINDS,
    )


def load_recipe(path: Path) -> RecipeFile:
    """Read a recipe.

    Raises BadInputError naming file, line, what was found and what is allowed, for every rule
    broken at once.
    """
    return RecipeFile(path=path, recipe=_form().load(path))


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe (JSON Schema 2020-12)."""
    return _form().schema()
