"""`imgforge convert`: a disk becomes another format, a bundle becomes an EBS image."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.artifact_format import ArtifactFormat
from imgforge.cli import show
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption, MachineOptions, SuiteOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.tables import print_rows
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.conversion_step import StepName
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgforge.ebs_conversion import Conversion, ConversionWish, PlannedStep

_FILE = "FILE"
_OF_A_DISK = {"source", "to", "out", "accel", "network", "as_json"}
_STATES = {"stands": "done before", "done": "done", "to-do": "to do"}


class Target(StrEnum):
    """What `--to` takes: the formats of a disk, and ebs."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHD = "vhd"
    EBS = "ebs"


@dataclass(frozen=True, slots=True)
class EbsConversionOptions:
    """What a conversion into an EBS image takes, and one of a disk's format does not."""

    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar=_FILE, help="ebs: the key it was bundled with."),
    ] = None
    name: Annotated[str, typer.Option("--name", help="ebs: the image's; else the bundle's.")] = ""
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="GIB", help="ebs: the volume's; else the image's."),
    ] = None
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="ebs: take the expectations from this recipe.")
    ] = None
    suite: SuiteOption = "none"
    test_source: Annotated[
        bool, typer.Option("--test-source", help="ebs: test the disk in the bundle as well.")
    ] = False
    source_verdict: Annotated[
        Path | None,
        typer.Option("--source-verdict", metavar=_FILE, help="ebs: a verdict.json of that disk."),
    ] = None
    replace: Annotated[
        bool, typer.Option("--replace", help="ebs: deregister an image that has this name.")
    ] = False
    until: Annotated[
        StepName | None, typer.Option("--until", metavar="STEP", help="ebs: end after this step.")
    ] = None
    step: Annotated[
        StepName | None,
        typer.Option(
            "--step",
            metavar="STEP",
            help="ebs: do it again, after those whose file was used up; end there.",
        ),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="ebs: print the steps, and do none.")
    ] = False

    def wish(
        self, source: str, *, out: Path | None, where: CloudOptions, machine: MachineOptions
    ) -> "ConversionWish":
        """Return what is to be done. Raises BadInputError for what does not go together."""
        from imgforge.catalog import NameConflict
        from imgforge.ebs_conversion import ConversionWish, EbsOptions, Repeat
        from imgforge.recipe import ExpectPart
        from imgforge.recipe_file import load_recipe
        from imgforge.suite import choose_tests

        if self.step and self.until:
            raise BadInputError("Conversion: give --step or --until, not both.")
        conflict = NameConflict.SUPERSEDE if self.replace else NameConflict.REFUSE
        return ConversionWish(
            source,
            key=self.key,
            out=out,
            ebs=EbsOptions(self.size, self.name, conflict),
            expect=load_recipe(self.recipe).recipe.expect if self.recipe else ExpectPart(),
            cloud=where.wish(),
            surroundings=machine.surroundings(),
            suite=choose_tests(self.suite),
            source_verdict=self.source_verdict,
            tests_source=self.test_source,
            last_step=self.step or self.until or StepName.REGISTER,
            repeat=Repeat.LAST_STEP if self.step else Repeat.NEVER,
        )


@with_groups
def convert(
    ctx: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="DISK|MANIFEST|URL",
            help="A raw disk; for ebs NAME.manifest.xml, also as s3://BUCKET/….",
        ),
    ],
    *,
    to: Annotated[Target, typer.Option("--to", help="The format wanted.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="The file; for ebs the folder. Else beside."),
    ] = None,
    ebs: EbsConversionOptions,
    where: CloudOptions,
    machine: MachineOptions,
    as_json: JsonOption = False,
) -> None:
    """Convert a raw disk, and compare it back; or, with --to ebs, a bundle into an EBS image.

    The latter by the guide's steps: download, unbundle, identify, volume, copy, partitions, fstab,
    digest, test-source, test, snapshot, register. Each is kept in NAME.ebs, and a run goes on where
    the one before it ended. --step does one again: `copy` needs `volume` again, and `fstab` needs
    `volume`, `copy` and `partitions`, since they change one file. Registered is what boots.
    """
    if to is not Target.EBS:
        _require_only_a_disk(ctx)
        _convert_disk(Path(source), ArtifactFormat(to), out=out, as_json=as_json)
        return
    wish = ebs.wish(source, out=out, where=where, machine=machine)
    _convert_bundle(wish, dry_run=ebs.dry_run, as_json=as_json)


def _require_only_a_disk(ctx: typer.Context) -> None:
    """Raise BadInputError where an option was typed that means nothing to a disk."""
    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name not in _OF_A_DISK and source is not None and source.name == "COMMANDLINE":
            raise BadInputError(f"Conversion: {parameter.opts[0]} is for --to ebs only.")


def _convert_disk(disk: Path, to: ArtifactFormat, *, out: Path | None, as_json: bool) -> None:
    from imgforge import pipeline
    from imgforge.disk import open_disk

    with shown_progress(stderr_console()):
        artifact = pipeline.seal(open_disk(disk), to=to, destination=out)
    if as_json:
        print_json(show.artifact_values(artifact))
    else:
        show.artifact(stdout_console(), artifact)


def _convert_bundle(wish: "ConversionWish", *, dry_run: bool, as_json: bool) -> None:
    from imgforge.ebs_conversion import convert_to_ebs, plan

    if dry_run:
        planned = plan(wish)
        if as_json:
            print_json({"folder": str(wish.folder), "steps": _step_values(planned)})
        else:
            _show_steps(planned)
        return
    with shown_progress(stderr_console()):
        made = convert_to_ebs(wish)
    if as_json:
        print_json(_conversion_values(made))
    elif made.image_id is not None and wish.last_step is StepName.REGISTER:
        stdout_console().print(made.image_id)
    else:
        _show_steps(made.steps)


def _show_steps(steps: "Sequence[PlannedStep]") -> None:
    rows = [(step.name, _STATES[step.state], step.words) for step in steps]
    print_rows(stdout_console(), ("step", "state", "what it does"), rows)


def _step_values(steps: "Sequence[PlannedStep]") -> list[dict[str, str]]:
    return [{"name": step.name, "state": step.state} for step in steps]


def _conversion_values(made: "Conversion") -> dict[str, Any]:
    chain = made.chain.model_dump(mode="json", by_alias=True) if made.chain else None
    return {
        "image_id": made.image_id,
        "folder": str(made.folder),
        "steps": _step_values(made.steps),
        "chain": chain,
    }
