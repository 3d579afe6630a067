"""A TOML file is read: with file, line, what was found and what is allowed for each broken rule."""

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from imgforge.errors import BadInputError, FieldError
from imgforge.toml_position import line_of

_LARGEST_BYTES = 2**20
_NUL = re.compile(r"\\u0{4}|\\U0{8}")  # TOML has NUL only as an escape

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TomlForm(Generic[T]):
    """What a file is to be: its noun as in "Recipe", its type, and the hint of an error.

    `tags` are the names by which a discriminated union tells its alternatives apart; `defaults`
    are what stands for keys that the file does not have.
    """

    noun: str
    adapter: TypeAdapter[T]
    hint: str
    tags: Collection[str] = ()
    defaults: Mapping[str, Any] | None = None

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema (2020-12)."""
        schema = self.adapter.json_schema()
        needed = [name for name in schema.get("required", []) if name not in (self.defaults or {})]
        schema = {key: value for key, value in schema.items() if key != "required"}
        if needed:
            schema["required"] = needed
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

    def load(self, path: Path) -> T:
        """Read a file.

        Raises BadInputError naming file, line, what was found and what is allowed, for every rule
        broken at once.
        """
        text = _read_text(path, self.noun)
        values = _parse(path, text, self.noun)
        try:
            # By way of JSON: there strict mode takes lists for tuples and text for enumerations.
            whole = {**(self.defaults or {}), **values}
            return self.adapter.validate_json(json.dumps(whole, default=str))
        except ValidationError as error:
            problems = _true_problems([dict(problem) for problem in error.errors()])
            found = [self._describe(path, text, problem) for problem in problems]
            raise BadInputError("\n".join(found), hint=self.hint) from None

    def _describe(self, path: Path, text: str, problem: dict[str, Any]) -> str:
        # A discriminated union adds its tag to the place: it is no key of the file.
        place = tuple(step for step in problem["loc"] if step not in self.tags)
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, FieldError):  # a rule between fields, which knows whose value it is
            place += cause.place
            problem = {**problem, "input": _value_at(problem["input"], cause.place)}
        line = line_of(text, place)
        key = "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in place
        ).lstrip(".")
        message = str(problem["msg"]).removeprefix("Value error, ")
        match problem["type"]:
            case "extra_forbidden" | "unexpected_keyword_argument":
                allowed = _allowed_keys(self.schema(), place[:-1])
                return f"{path}:{line}: unknown key {key!r}; allowed here: {', '.join(allowed)}"
            case "missing":
                return f"{path}:{line}: {key!r} is missing"
            case "value_error":
                what, value = key or self.noun.lower(), problem["input"]
                found = "" if _tells(message, value) else f"; found {_show(value)}"
                return f"{path}:{line}: {what}: {message}{found}"
            case _:
                found = _show(problem["input"])
                return f"{path}:{line}: {key}: {message[0].lower()}{message[1:]}; found {found}"


def _read_text(path: Path, noun: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInputError(f"{noun} {path}: cannot be read: {reason}.") from None
    if len(content) > _LARGEST_BYTES:
        raise BadInputError(
            f"{noun} {path}: it has more than {_LARGEST_BYTES} bytes: no {noun.lower()}."
        )
    return text.replace("\r\n", "\n")


def _parse(path: Path, text: str, noun: str) -> dict[str, Any]:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInputError(f"{noun} {path}: not TOML: {error}.") from None
    except RecursionError:
        raise BadInputError(f"{noun} {path}: its arrays or tables nest too deep.") from None
    if _holds_nul(values):
        line = next(n for n, found in enumerate(text.splitlines(), 1) if _NUL.search(found))
        raise BadInputError(
            f"{path}:{line}: a value holds a NUL character; no path or argument can have one"
        )
    return values


def _true_problems(problems: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out that a list is too short where that is only because its items are wrong."""
    places = [problem["loc"] for problem in problems]

    def follows(problem: dict[str, Any]) -> bool:
        place = problem["loc"]
        within = [other for other in places if len(other) > len(place)]
        return problem["type"] == "too_short" and any(
            other[: len(place)] == place for other in within
        )

    return [problem for problem in problems if not follows(problem)]


def _holds_nul(value: object) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(_holds_nul(part) for pair in value.items() for part in pair)
        case list():
            return any(map(_holds_nul, value))
        case _:
            return False


def _value_at(value: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


def _tells(message: str, value: object) -> bool:
    """Tell whether a message ends with the value that it is about."""
    return isinstance(value, str | int) and message.endswith((repr(value), f"found {value}"))


def _show(value: object) -> str:
    shown = json.dumps(value, default=str)
    return shown if len(shown) <= 80 else shown[:79] + "…"


def _allowed_keys(schema: dict[str, Any], place: tuple[str | int, ...]) -> list[str]:
    """Return the keys of the table at `place`, found by walking the schema."""
    node: dict[str, Any] = schema
    for step in place:
        node = node["items"] if isinstance(step, int) else node["properties"][step]
        node = _resolve(schema, node)
    return sorted(node.get("properties", {}))


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Follow references; of alternatives, join the properties."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "items" in node:
        return node
    choices = [_resolve(schema, choice) for choice in node.get("oneOf", node.get("anyOf", []))]
    properties = dict(node.get("properties", {}))
    for choice in choices:
        properties |= choice.get("properties", {})
    return {**node, "properties": properties}
