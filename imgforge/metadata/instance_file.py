"""An instance, and what its service gets wrong, as a TOML file declares them."""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, with_config

from imgforge.metadata.fault import Fault
from imgforge.metadata.instance import Instance
from imgforge.toml_file import TomlForm

_DEFAULTS = {"instance_id": "i-0123456789abcdef0", "image_id": "ami-0123456789abcdef0"}
_HINT = "imgforge metadata schema prints all that is allowed."


@with_config(ConfigDict(extra="forbid", strict=True, title="Instance"))
@dataclass(frozen=True, slots=True)
class _FiledInstance(Instance):
    """What the metadata service tells of one instance."""


class _Faults(BaseModel):
    """What the metadata service gets wrong: the first fault that concerns a request is made."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Faults")

    fault: tuple[Fault, ...] = ()


@cache
def _instance_form(instance_id: str = _DEFAULTS["instance_id"]) -> TomlForm[_FiledInstance]:
    defaults = {**_DEFAULTS, "instance_id": instance_id}
    return TomlForm("Instance", TypeAdapter(_FiledInstance), hint=_HINT, defaults=defaults)


@cache
def _faults_form() -> TomlForm[_Faults]:
    hint = _HINT.replace("schema", "schema --faults")
    return TomlForm("Faults", TypeAdapter(_Faults), hint=hint)


def load_instance(path: Path, *, instance_id: str | None = None) -> Instance:
    """Read an instance; each of its fields is a key, and none has to be there.

    `instance_id` stands for one that the file does not have, None for an id that is always the
    same. Raises BadInputError with file and line of each rule that is broken.
    """
    form = _instance_form() if instance_id is None else _instance_form(instance_id)
    return _plain(form.load(path))


def default_instance() -> Instance:
    """Return the instance of a file that says nothing."""
    return Instance(_DEFAULTS["instance_id"], _DEFAULTS["image_id"])


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Read faults, each a `[[fault]]` with the fields of `Fault`. Raises BadInputError."""
    return _faults_form().load(path).fault


def instance_schema() -> dict[str, Any]:
    """Return the JSON Schema of an instance's file (2020-12)."""
    return _instance_form().schema()


def faults_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file of faults (2020-12)."""
    return _faults_form().schema()


def _plain(filed: _FiledInstance) -> Instance:
    return Instance(**{field.name: getattr(filed, field.name) for field in fields(Instance)})
