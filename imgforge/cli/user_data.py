"""`imgforge user-data`: what an instance is launched with, put together and looked through."""

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.cli.instance import read_user_data
from imgforge.cli.options import JsonOption
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError, ExitCode
from imgforge.files import appearing
from imgforge.user_data_limit import USER_DATA_LIMIT_BYTES

if TYPE_CHECKING:
    from imgforge.user_data import Examination, Finding, Part

user_data_app = typer.Typer(
    help="User data: put it together from parts, or check what a guest does with it.",
    no_args_is_help=True,
)


@user_data_app.command("make")
def make(
    parts: Annotated[
        list[str],
        typer.Argument(metavar="FILE[:TYPE]…", help="The parts, in order.", show_default=False),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Else on stdout.")
    ] = None,
    mime: Annotated[
        bool, typer.Option("--mime", help="A MIME message, also of a single part.")
    ] = False,
    compressed: Annotated[bool, typer.Option("--gzip", help="Compress it.")] = False,
    encoded: Annotated[
        bool, typer.Option("--base64", help="Encode it, as EC2's API wants it.")
    ] = False,
) -> None:
    """Put user data together: several parts become a MIME multipart message.

    What a part is its first line tells (#!, #cloud-config, …), or TYPE: a MIME type, or the end of
    one (cloud-config, shellscript, cloud-boothook, …). The same parts give the same bytes. Exit
    code 2 where it is larger than EC2's 16 KiB.
    """
    from imgforge.user_data import Form, examine_user_data, make_user_data, read_part

    read = [read_part(part) for part in parts]
    form = Form.MULTIPART if mime else Form.AUTO
    made = make_user_data(read, form=form, compressed=compressed)
    console = stderr_console()
    examined = examine_user_data(made)
    for finding in told_findings(examined):
        console.print(finding, markup=False, soft_wrap=True)
    size = f"user data: {len(made)} of {USER_DATA_LIMIT_BYTES} bytes"
    console.print(size, markup=False, soft_wrap=True)
    written = base64.b64encode(made) + b"\n" if encoded else made
    if out is None or str(out) == "-":
        sys.stdout.buffer.write(written)
        return
    with appearing(out) as new:
        new.write_bytes(written)


@user_data_app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="User data; - is stdin.")],
    *,
    as_json: JsonOption = False,
) -> int:
    """Say what a guest does with each part of user data, and what is wrong with it.

    As cloud-init 22.4 does, Debian 12's; where others differ it is said. Exit code 2 where
    something in it would not take effect.
    """
    from imgforge.user_data import examine_user_data

    examined = examine_user_data(_read(file))
    if as_json:
        print_json(examination_values(examined))
    else:
        _show(examined)
    return ExitCode.BAD_INPUT if examined.has_error else ExitCode.DONE


def examination_values(examined: "Examination") -> dict[str, Any]:
    """Return what `user-data check --json` prints; the README promises these keys."""
    return {
        "size_bytes": examined.size_bytes,
        "limit_bytes": USER_DATA_LIMIT_BYTES,
        "wrappings": list(examined.wrappings),
        "parts": [_part_values(part) for part in examined.parts],
        "findings": [_finding_values(finding) for finding in examined.findings],
        "takes_effect": not examined.has_error,
    }


def _part_values(part: "Part") -> dict[str, Any]:
    return {
        "name": part.name,
        "type": part.kind.mime_type or part.mime_type,
        "handler": part.kind.handler,
        "stage": part.kind.stage,
        "when": part.kind.frequency,
        "does": part.kind.does,
        "size_bytes": len(part.content),
        "findings": [_finding_values(finding) for finding in part.findings],
    }


def _finding_values(finding: "Finding") -> dict[str, Any]:
    return {
        "id": finding.id,
        "weight": finding.weight,
        "found": finding.found,
        "needed": finding.needed,
        "hint": finding.hint,
    }


def _show(examined: "Examination") -> None:
    console = stdout_console()
    within = f" ({', '.join(examined.wrappings)})" if examined.wrappings else ""
    size = f"{examined.size_bytes} of {USER_DATA_LIMIT_BYTES} bytes{within}"
    console.print(size, markup=False, soft_wrap=True)
    if examined.parts:
        console.print()
        rows = [
            (
                part.name,
                part.kind.mime_type or part.mime_type or "-",
                str(part.kind.stage),
                str(part.kind.frequency),
                part.kind.does,
            )
            for part in examined.parts
        ]
        print_rows(console, ("part", "type", "stage", "when", "what a guest does"), rows)
    if told := told_findings(examined):
        console.print()
        for line in told:
            console.print(line, markup=False, soft_wrap=True)


def told_findings(
    examined: "Examination", *, apart_from: frozenset[str] = frozenset()
) -> list[str]:
    """Return findings as lines: their weight, whose they are, what is wrong, what to do."""
    whole = [("", finding) for finding in examined.findings]
    inner = [(part.name, finding) for part in examined.parts for finding in part.findings]
    return [_line(name, found) for name, found in (*whole, *inner) if found.id not in apart_from]


def tell_findings(name: str, data: bytes) -> None:
    """Tell on stderr what is wrong with user or vendor data; its size is for others to judge."""
    from imgforge.user_data import examine_user_data

    if not data.strip():
        return
    for line in told_findings(examine_user_data(data), apart_from=frozenset({"too-large"})):
        stderr_console().print(f"{name}: {line}", markup=False, soft_wrap=True)


def _line(name: str, finding: "Finding") -> str:
    of_part = f"{name}: " if name else ""
    hint = f". {finding.hint}" if finding.hint else ""
    text = f"{finding.weight}: {of_part}{finding}{hint}"
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _read(file: Path) -> bytes:
    from imgforge.user_data import LARGEST_FILE_BYTES, read_source

    if str(file) != "-":
        return read_source(file)
    data = sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise BadInputError("Standard input: is larger than 16 MiB; user data has at most 16 KiB.")
    return data


def told_user_data(path: Path | None) -> bytes | None:
    """Return the user data of a file, and tell what a guest would not do with it."""
    if path is None:
        return None
    data = read_user_data(path)
    tell_findings("user-data", data)
    return data
