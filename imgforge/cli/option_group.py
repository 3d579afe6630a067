"""Options that belong together: a frozen dataclass, each of whose fields is an option.

A command says `cloud: CloudOptions` where it would list `region`, `profile` and `url`. So an option
is described once, and what is made of the group is a method of it.
"""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, TypeVar, get_type_hints

_Result = TypeVar("_Result")


def with_groups(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """Return a command as typer reads it: each group's options stand in the group's place."""
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }
    told: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        told += _options(groups[name]) if name in groups else [parameter]

    @wraps(command)
    def grouped(*arguments: Any, **given: Any) -> _Result:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        return command(*arguments, **given)

    vars(grouped)["__signature__"] = signature.replace(parameters=told)
    grouped.__annotations__ = {one.name: one.annotation for one in told}
    return grouped


def _options(group: Any) -> list[inspect.Parameter]:
    """Return the fields as parameters; one without a default is an option that must be given."""
    kinds = get_type_hints(group, include_extras=True)
    return [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=kinds[one.name])
        for one in inspect.signature(group).parameters.values()
    ]
