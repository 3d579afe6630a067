"""`imgforge cache`: what the cache holds, and making it smaller."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge import host
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.tables import human_size, print_rows
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode
from imgforge.inventory import CacheItem, CacheKind, take_inventory

if TYPE_CHECKING:
    from imgforge.cache import Pruned

cache_app = typer.Typer(
    help="The cache: list what it holds, or make it smaller.", no_args_is_help=True
)
# Many and small: a person sees a line for all of them.
_FOLDED = {CacheKind.PACKAGES, CacheKind.LOCKS, CacheKind.ACCELERATOR}
_AGES = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "hours"), (120, 60, "minutes"))
_KINDS = ", ".join(CacheKind)

KindOption = Annotated[
    list[CacheKind] | None,
    typer.Option("--kind", metavar="KIND", help=f"Only {_KINDS}; may be given several times."),
]


@cache_app.command("ls")
def list_cache(*, kind: KindOption = None, as_json: JsonOption = False) -> None:
    """List what the cache holds, least recently used first.

    A file with several names counts once. While a build runs, all that builds use is in use.
    """
    with shown_progress(stderr_console()):
        items = take_inventory(host.cache_dir(), kinds=kind or ())
    if as_json:
        print_json([item_values(item) for item in items])
        return
    if not items:
        stdout_console().print(f"nothing in {host.cache_dir()}", markup=False, soft_wrap=True)
        return
    headings = ("kind", "name", "what", "size", "last used", "in use")
    print_rows(stdout_console(), headings, _rows(items, folded=not kind))
    total = human_size(sum(item.size_bytes for item in items))
    stdout_console().print(f"\n{total} in {host.cache_dir()}", markup=False, soft_wrap=True)


@cache_app.command()
def prune(
    *,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="AGE", help="Not used for so long: 30d.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="Down to this size: 10G.")
    ] = None,
    kind: KindOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is not in use.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Remove what was not used for longest; never what is in use.

    Leftovers of killed runs always go. Without --older-than, --max-size and --all, frozen machines
    also do beyond IMGFORGE_FROZEN_LIMIT (8G). Exit code 3 where something could not be removed.
    """
    from imgforge import cache
    from imgforge.recipe import parse_size

    if everything and (older_than or max_size):
        raise BadInputError("Pruning: --all takes neither --older-than nor --max-size beside it.")
    age_s = _limit("--older-than", older_than, cache.parse_age)
    size_bytes = _limit("--max-size", max_size, parse_size)
    wish = cache.PruneWish(
        kinds=tuple(dict.fromkeys(kind or ())),
        older_than_s=cache.EVERY_AGE_S if everything else age_s,
        max_size_bytes=None if size_bytes is None else int(size_bytes),
    )
    with shown_progress(stderr_console()):
        pruned = cache.prune(host.cache_dir(), wish, remove=not dry_run)
    if as_json:
        print_json(_pruned_values(pruned, dry_run=dry_run))
    else:
        _show_pruned(pruned, dry_run=dry_run)
    return ExitCode.HOST_OR_TOOL if pruned.failed else ExitCode.DONE


def item_values(item: CacheItem) -> dict[str, Any]:
    """Return what `cache ls --json` prints of a thing; the README promises these keys."""
    return {
        "kind": item.kind,
        "path": str(item.path),
        "what": item.what,
        "size_bytes": item.size_bytes,
        "last_used": datetime.fromtimestamp(item.last_used_s, UTC).isoformat(timespec="seconds"),
        "in_use": item.in_use,
    }


def _limit(option: str, text: str | None, parse: Callable[[str], float]) -> float | None:
    """Return what an option says, in seconds or bytes; None where it is not given."""
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise BadInputError(f"{option} {text}: {error}.") from None


def _pruned_values(pruned: "Pruned", *, dry_run: bool) -> dict[str, Any]:
    return {
        "removed": [item_values(item) for item in pruned.removed],
        "in_use": [item_values(item) for item in pruned.in_use],
        "failed": [item_values(item) for item in pruned.failed],
        "freed_bytes": sum(item.size_bytes for item in pruned.removed),
        "dry_run": dry_run,
    }


def _show_pruned(pruned: "Pruned", *, dry_run: bool) -> None:
    console = stdout_console()
    if pruned.removed:
        headings = ("kind", "name", "what", "size", "last used")
        print_rows(console, headings, (row[:-1] for row in _rows(pruned.removed, folded=True)))
    freed = human_size(sum(item.size_bytes for item in pruned.removed))
    console.print(f"{'would free' if dry_run else 'freed'} {freed}", markup=False)
    if pruned.in_use:
        kept = human_size(sum(item.size_bytes for item in pruned.in_use))
        console.print(f"kept {len(pruned.in_use)}, {kept}, in use", markup=False)
    if pruned.failed:
        console.print(f"{len(pruned.failed)} could not be removed", markup=False)


def _rows(items: Sequence[CacheItem], *, folded: bool) -> list[tuple[str, ...]]:
    """Return a row for each thing, or one for all of a kind of which there are many."""
    single = [item for item in items if not folded or item.kind not in _FOLDED]
    rows: list[tuple[str, ...]] = [
        (
            str(item.kind),
            _short(item.path.name),
            item.what or "-",
            human_size(item.size_bytes),
            _age(item),
            "yes" if item.in_use else "no",
        )
        for item in single
    ]
    for kind in sorted(_FOLDED) if folded else ():
        same = [item for item in items if item.kind is kind]
        if same:
            newest = max(same, key=lambda item: item.last_used_s)
            size = human_size(sum(item.size_bytes for item in same))
            used = "yes" if any(item.in_use for item in same) else "no"
            rows.append((str(kind), "-", f"{len(same)} files", size, _age(newest), used))
    return rows


def _short(name: str) -> str:
    """Return the beginning of a digest, or a name as it is."""
    stem = name.partition(".")[0]
    return stem[:12] if len(stem) >= 64 else name


def _age(item: CacheItem) -> str:
    age_s = time.time() - item.last_used_s
    for least_s, unit_s, words in _AGES:
        if age_s >= least_s:
            return f"{age_s / unit_s:.0f} {words} ago"
    return "now"
