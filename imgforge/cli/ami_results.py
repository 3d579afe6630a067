"""What came of a change to images and snapshots, as a person reads it and as --json prints it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stdout_console

if TYPE_CHECKING:
    from imgforge.catalog import Permission


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of an image or a snapshot; `is_new` where this run made it."""

    region: str
    copy_id: str
    state: str
    is_new: bool


def show_copies(source_id: str, copies: Sequence[Copy], *, what: str, as_json: bool) -> None:
    """Show the copies of `what`, "image" or "snapshot"."""
    if as_json:
        values = [
            {"region": one.region, f"{what}_id": one.copy_id, "state": one.state, "new": one.is_new}
            for one in copies
        ]
        print_json({"source": source_id, "copies": values})
    else:
        rows = [(one.region, one.copy_id, one.state) for one in copies]
        print_rows(stdout_console(), ("region", what, "state"), rows)


def show_tags(resource_id: str, tags: dict[str, str], *, as_json: bool) -> None:
    """Show the tags that a resource has now."""
    console = stdout_console()
    if as_json:
        print_json({"id": resource_id, "tags": tags})
    elif tags:
        print_rows(console, ("tag", "value"), sorted(tags.items()))
    else:
        console.print(f"{resource_id} has no tags", markup=False)


def in_words(permissions: "Sequence[Permission]") -> str:
    """Return permissions in words."""
    named = ["everybody" if kind == "Group" else value for kind, value in permissions]
    return ", ".join(named) or "nobody"
