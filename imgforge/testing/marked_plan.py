"""A machine as a test's marks ask for it, decided without touching anything."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from imgforge.machine import INSTANCE_TYPES
from imgforge.metadata import Access, Fault, HttpTokens, Instance, MetadataOptions
from imgforge.testing.marks import MARKS, Mark
from imgforge.testing.plan import MOST_VOLUMES, Plan, Start, is_volume_size
from imgforge.user_data_limit import excess


class MarkError(ValueError):
    """A mark is not what it must be; says which, what was found and what is allowed."""


def apply_marks(plan: Plan, marks: list[Mark]) -> Plan:
    """Return `plan` changed by marks, the outermost (module, class) first. Raises MarkError."""
    for mark in marks:
        plan = _apply(plan, mark)
    if plan.faults and plan.start is Start.FORK:
        plan = replace(plan, start=Start.COLD)
    try:
        Instance("", "", options=plan.metadata_options, tags=dict(plan.tags))
    except ValueError as error:
        raise MarkError(f"Mark tags: {error}.") from None
    return plan


def _apply(plan: Plan, mark: Mark) -> Plan:
    changed = _change_hardware(plan, mark) or _change_launch(plan, mark)
    if changed is None:
        raise MarkError(f"Mark {mark.name}{_call(mark)} is none of: {_allowed(mark.name)}.")
    return changed


def _change_hardware(plan: Plan, mark: Mark) -> Plan | None:
    match mark:
        case Mark("instance_type", (str(name),)) if name in INSTANCE_TYPES:
            return replace(plan, profile=INSTANCE_TYPES[name])
        case Mark("root_volume", (int(gib),)) if is_volume_size(gib):
            return replace(plan, root_gib=gib)
        case Mark("volumes", sizes) if _are_sizes(sizes):
            return replace(plan, volumes_gib=tuple(size for size in sizes if isinstance(size, int)))
    return None


def _change_launch(plan: Plan, mark: Mark) -> Plan | None:
    match mark:
        case Mark("user_data", (str(text),)):
            return replace(plan, user_data=_fitting(text.encode()))
        case Mark("user_data", (bytes(data),)):
            return replace(plan, user_data=_fitting(data))
        case Mark("metadata_options", (), options) if options:
            return replace(plan, metadata_options=_options(plan.metadata_options, options))
        case Mark("tags", (), tags) if tags:
            return replace(plan, tags=(*plan.tags, *_tags(tags)))
        case Mark("faults", (str(path),)):
            return replace(plan, faults=(*plan.faults, _fault(path, mark.kwargs)))
        case Mark("cold_boot", ()):
            return replace(plan, start=Start.COLD)
        case Mark("power_on", ()):
            return replace(plan, start=Start.POWER_ON)
        case Mark("nocloud", ()):
            return replace(plan, is_seeded=True)
        case Mark("new_instance", ()):
            return replace(plan, is_new_instance=True)
    return None


def _fitting(user_data: bytes) -> bytes:
    if wrong := excess(user_data):
        raise MarkError(f"Mark user_data: {wrong}.")
    return user_data


def _are_sizes(sizes: tuple[object, ...]) -> bool:
    return 0 < len(sizes) <= MOST_VOLUMES and all(map(is_volume_size, sizes))


def _fault(path: str, kwargs: Mapping[str, object]) -> Fault:
    try:
        return Fault(path, **kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise MarkError(f"Mark faults({path!r}): {error}.") from None


_OPTION_TYPES: Mapping[str, Callable[[Any], object]] = {
    "http_tokens": HttpTokens,
    "http_endpoint": Access,
    "http_put_response_hop_limit": lambda hops: hops if type(hops) is int else -1,
    "instance_metadata_tags": Access,
}


def _options(before: MetadataOptions, kwargs: Mapping[str, object]) -> MetadataOptions:
    try:
        changed = {name: _OPTION_TYPES[name](value) for name, value in kwargs.items()}
        return replace(before, **changed)  # type: ignore[arg-type]
    except KeyError as error:
        raise MarkError(
            f"Mark metadata_options: {error} is none of {', '.join(_OPTION_TYPES)}."
        ) from None
    except ValueError as error:
        raise MarkError(f"Mark metadata_options: {error}.") from None


def _tags(kwargs: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    for key, value in kwargs.items():
        if not isinstance(value, str):
            raise MarkError(f"Mark tags: {key} is a text, found {value!r}.")
    return tuple((key, str(value)) for key, value in kwargs.items())


def _call(mark: Mark) -> str:
    words = [repr(arg) for arg in mark.args]
    words += [f"{name}={value!r}" for name, value in mark.kwargs.items()]
    return f"({', '.join(words)})"


def _allowed(name: str) -> str:
    types = f", with one of {', '.join(INSTANCE_TYPES)}" if name == "instance_type" else ""
    (form,) = (text for text in MARKS if re.match(rf"{name}\b", text))
    return form.partition(":")[0] + types
