"""Flags that several of the ec2-… tools have.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from imgforge import __version__
from imgforge.cli.terminal import stdout_console

PATH = "PATH"


def _print_version(*, wanted: bool) -> None:
    if wanted:
        say(version_line())
        raise typer.Exit


def version_line() -> str:
    """Return what --version prints."""
    return f"imgforge {__version__}, with the AMI tools' command lines"


def say(text: str) -> None:
    """Print a line of the result."""
    stdout_console().print(text, markup=False, soft_wrap=True)


KeyOption = Annotated[
    Path, typer.Option("-k", "--privatekey", metavar=PATH, help="Your private key (RSA, PEM).")
]
CertOption = Annotated[
    Path, typer.Option("-c", "--cert", metavar=PATH, help="Your certificate (X.509, PEM).")
]
Ec2CertOption = Annotated[
    Path | None,
    typer.Option("--ec2cert", metavar=PATH, help="EC2's certificate; else this installation's."),
]
KernelOption = Annotated[str, typer.Option("--kernel", metavar="AKI", help="A kernel's id.")]
RamdiskOption = Annotated[str, typer.Option("--ramdisk", metavar="ARI", help="A RAM disk's id.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what stands there (ours).")]
VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
]


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """What each tool takes."""

    batch: Annotated[bool, typer.Option("--batch", help="Ask nothing.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False
    version: VersionOption = False
