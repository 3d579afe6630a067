"""What a running service is told to do: an order is a line of JSON, and so is what it says to it.

`{"do": "interrupt-spot", "action": "stop"}` is answered by `{"ok": true}`, or by
`{"ok": false, "error": "…"}` where nothing was done.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError, validate_call

from imgforge.metadata.change import (
    end_maintenance,
    interrupt_spot,
    recommend_rebalance,
    rotate_credentials,
    rotate_keys,
    schedule_maintenance,
    set_tags,
    withdraw_spot_interruption,
)
from imgforge.metadata.fault import Fault, Faults
from imgforge.metadata.instance import Instance
from imgforge.metadata.service import MetadataService
from imgforge.metadata.tokens import Tokens

CHANGES: Mapping[str, Callable[..., Instance]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        end_maintenance,
        interrupt_spot,
        recommend_rebalance,
        rotate_credentials,
        rotate_keys,
        schedule_maintenance,
        set_tags,
        withdraw_spot_interruption,
    )
}
"""What may happen to an instance, by name; the arguments are those of the function."""
ORDERS = (*CHANGES, "add-fault", "clear-faults", "expire-tokens")
_OWN = {"instance", "now"}


@dataclass(frozen=True, slots=True)
class Ordered:
    """A service that takes orders, and what they change."""

    service: MetadataService
    faults: Faults
    tokens: Tokens
    clock: Callable[[], float]


def obey(line: bytes | str, ordered: Ordered) -> dict[str, Any]:
    """Do what a line says; return what to answer. Never raises for what a line may hold."""
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or not isinstance(values.get("do"), str):
            raise ValueError('an order is a JSON object with a "do", such as "interrupt-spot"')
        arguments = {name: value for name, value in values.items() if name != "do"}
        _obey(values["do"], arguments, ordered)
    except ValidationError as error:
        return {"ok": False, "error": "; ".join(map(_told, error.errors()))}
    except RecursionError:
        return {"ok": False, "error": "its arrays or objects nest too deep"}
    except (ValueError, TypeError) as error:
        return {"ok": False, "error": str(error)}
    except Exception as error:  # a bug of ours must not end the service
        return {"ok": False, "error": f"it failed unexpectedly: {error!r}"}
    return {"ok": True}


def _obey(name: str, arguments: dict[str, Any], ordered: Ordered) -> None:
    change = CHANGES.get(name)
    if change is not None:
        ordered.service.instance = changed(ordered.service.instance, change, arguments)
    elif name == "add-fault":
        fault = TypeAdapter(Fault).validate_python(_known(Fault, arguments))
        ordered.faults.add(fault, now_s=ordered.clock())
    elif name == "clear-faults" and not arguments:
        ordered.faults.clear()
    elif name == "expire-tokens" and not arguments:
        ordered.tokens.expire()
    else:
        takes = " takes nothing else" if name in ORDERS else f" is none of {', '.join(ORDERS)}"
        raise ValueError(f"{name!r}{takes}")


def changed(
    instance: Instance, change: Callable[..., Instance], arguments: Mapping[str, Any]
) -> Instance:
    """Return what a change makes of an instance now. Raises ValueError for its arguments."""
    now = {"now": datetime.now(UTC)} if "now" in inspect.signature(change).parameters else {}
    call = validate_call(change)
    made = call(instance, **now, **_known(change, arguments))
    assert isinstance(made, Instance)
    return made


def _known(taker: Callable[..., object], arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    allowed = [name for name in inspect.signature(taker).parameters if name not in _OWN]
    for name in arguments:
        if name not in allowed:
            raise ValueError(f"unknown {name!r}; allowed here: {', '.join(allowed) or 'nothing'}")
    return arguments


def _told(problem: Any) -> str:
    place = ".".join(str(step) for step in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
