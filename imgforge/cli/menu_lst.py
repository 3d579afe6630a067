"""`imgforge menu-lst`: what GRUB would read from a disk, whether it boots on EC2, a new kernel."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from imgforge.aki import read_pv_grub
from imgforge.cli.options import DiskArgument, JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, say, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode

if TYPE_CHECKING:
    from imgforge.disk import FoundMenu, MenuExamination, MenuFinding, World

menu_lst_app = typer.Typer(
    help="menu.lst of a disk: show it, check it by EC2's rules, add a kernel to it.",
    no_args_is_help=True,
)


@menu_lst_app.command("show")
def show(
    disk: DiskArgument,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The file itself, byte for byte.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what GRUB reads from a disk's menu.lst, and the order in which entries are tried."""
    from imgforge.disk import read_first_menu

    found = read_first_menu(_existing(disk))
    if raw:
        sys.stdout.buffer.write(found.data)
    elif as_json:
        print_json(menu_values(found))
    else:
        _show_menu(stdout_console(), found)


@menu_lst_app.command("check")
def check(
    disk: DiskArgument,
    *,
    virtualization: Annotated[
        str | None,
        typer.Option("--virtualization", metavar="hvm|pv", help="Else as the disk's layout is."),
    ] = None,
    aki: Annotated[
        str | None,
        typer.Option("--aki", metavar="ID|NAME", help="The AKI: an id, or pv-grub-hd0_1.05-…"),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Check a disk's menu.lst by EC2's rules: the disk is read, nothing is booted.

    Each finding has a rule's id, what was found, what is needed, and the guide's section. Exit code
    1 where no entry would boot.
    """
    from imgforge.disk import examine_menu

    world = _world(virtualization)
    pv_grub = read_pv_grub(aki) if aki is not None else None
    with shown_progress(stderr_console()):
        examined = examine_menu(_existing(disk), world=world, pv_grub=pv_grub)
    if as_json:
        print_json(examination_values(examined))
    else:
        _show_examination(stdout_console(), examined)
    return ExitCode.IMAGE_REJECTED if examined.boots is None else ExitCode.DONE


@menu_lst_app.command("edit")
def edit(  # noqa: PLR0913 (an argument for each option)
    disk: DiskArgument,
    *,
    title: Annotated[str, typer.Option("--title", help="The new entry's title.")],
    kernel: Annotated[str, typer.Option("--kernel", metavar="PATH", help="Its kernel.")],
    initrd: Annotated[
        str | None, typer.Option("--initrd", metavar="PATH", help="Its initrd.")
    ] = None,
    command_line: Annotated[
        str | None, typer.Option("--command-line", help="Else that of the entry that boots now.")
    ] = None,
    root: Annotated[
        str | None, typer.Option("--root", metavar="(hd0)", help="Else that entry's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="COPY", help="Write the changed disk here."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Put the changed disk in DISK's place.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add a kernel to menu.lst as the guide says: it comes first, what boots now is its fallback.

    Sets default 0 and fallback 1; every other byte of menu.lst stays. The changed disk appears
    whole or not at all, without root or mounts; ext2, ext3 and ext4 alone.
    """
    from imgforge.disk import NewEntry, edit_disk

    if (out is None) is not in_place:
        raise BadInputError(f"Editing {disk}: give -o COPY or --in-place, and not both.")
    if out is not None and out.is_dir():
        raise BadInputError(f"Disk {out}: is a folder; -o names the changed disk itself.")
    entry = NewEntry(
        title=title, kernel=kernel, initrd=initrd, root=root, command_line=command_line
    )
    destination = out or disk
    with shown_progress(stderr_console()):
        written = edit_disk(_existing(disk), entry, destination=destination)
    if as_json:
        print_json({"disk": str(destination), **menu_values(written)})
    else:
        _show_menu(stdout_console(), written)


def menu_values(found: "FoundMenu") -> dict[str, Any]:
    """Return what `menu-lst show --json` prints; the README promises these keys."""
    menu = found.menu
    return {
        "path": found.name,
        "default": "saved" if menu.is_default_saved else menu.default,
        "fallback": list(menu.fallback),
        "order": list(menu.order) if menu.entries else [],
        "settings": [[command.name, command.argument] for command in menu.settings],
        "entries": [
            {
                "title": entry.title,
                "line": entry.line,
                "root": entry.root,
                "kernel": entry.kernel,
                "command_line": entry.command_line,
                "initrd": entry.initrd,
                "modules": list(entry.modules),
                "commands": [[command.name, command.argument] for command in entry.commands],
            }
            for entry in menu.entries
        ],
        "problems": [
            {"id": p.id, "line": p.line, "column": p.column, "found": p.found}
            for p in menu.problems
        ],
    }


def examination_values(examined: "MenuExamination") -> dict[str, Any]:
    """Return what `menu-lst check --json` prints; the README promises these keys."""
    found = examined.facts.found
    return {
        "virtualization": str(examined.world),
        "path": found.name if found else None,
        "boots": examined.boots,
        "findings": [
            {
                "id": finding.rule.id,
                "weight": str(finding.weight),
                "found": finding.found,
                "needed": finding.rule.needed,
                "hint": finding.rule.hint,
                "section": finding.rule.section,
                "entry": finding.entry,
                "line": finding.line,
                "column": finding.column,
            }
            for finding in examined.findings
        ],
    }


def _show_menu(console: Console, found: "FoundMenu") -> None:
    menu = found.menu
    _say(console, found.name)
    for command in menu.settings:
        _say(console, f"  {command.name} {command.argument}".rstrip())
    for index, entry in enumerate(menu.entries):
        turn = menu.order.index(index) if index in menu.order else None
        role = "" if turn is None else ", tried first" if turn == 0 else ", fallback"
        _say(console, "")
        _say(console, f"{index}  {entry.title} (line {entry.line}{role})")
        for command in entry.commands:
            _say(console, f"     {command.name} {command.argument}".rstrip())
    if menu.problems:
        _say(console, "")
    for problem in menu.problems:
        _say(console, f"{found.name}:{problem.line}:{problem.column}: {problem.found}")


def _show_examination(console: Console, examined: "MenuExamination") -> None:
    found = examined.facts.found
    for finding in examined.findings:
        _say(console, _line(finding, found.name if found else ""))
    menu = found.menu if found else None
    if menu is None or examined.boots is None:
        _say(console, f"{examined.world}: nothing on this disk would boot.")
        return
    entry = menu.entries[examined.boots]
    _say(console, f"{examined.world}: entry {examined.boots} ({entry.title}) would boot.")


def _line(finding: "MenuFinding", name: str) -> str:
    place = f"{name}:{finding.line}" if finding.line else ""
    place += f":{finding.column}" if finding.column else ""
    entry = f"entry {finding.entry}: " if finding.entry is not None else ""
    where = f"{place}: " if place else ""
    rule, found = finding.rule, finding.found.rstrip(".")
    return (
        f"{finding.weight}: {where}{entry}{rule.id}: {found}; needed: {rule.needed}. "
        f"{rule.hint} [{rule.section}]"
    )


def _say(console: Console, line: str) -> None:
    text = "".join(letter if letter.isprintable() else "?" for letter in line)
    say(console, text)


def _world(text: str | None) -> "World | None":
    from imgforge.disk import World

    if text is None:
        return None
    try:
        return World(text)
    except ValueError:
        raise BadInputError(f"--virtualization {text}: hvm or pv is needed.") from None


def _existing(disk: Path) -> Path:
    if not disk.is_file():
        if disk.is_dir():
            found = "this is a folder"
        else:
            found = "this is a device, a FIFO or a socket" if disk.exists() else "none is there"
        raise BadInputError(f"Disk {disk}: a raw disk is a file, {found}.")
    return disk
