"""The commands, each a thin layer over pipeline.py: arguments in, a table or JSON out.

What a command needs beyond its options it imports itself: `imgforge build` of an unchanged recipe
takes less time than the import of all that boots and judges (0.2 s).
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge import __version__
from imgforge.accelerator import AcceleratorWish
from imgforge.artifact_format import ArtifactFormat
from imgforge.cli import bundle_s3, show
from imgforge.cli.aki import aki_app
from imgforge.cli.bundle_edit import edit
from imgforge.cli.bundle_volume import volume
from imgforge.cli.cache import cache_app
from imgforge.cli.certificate import certificate_app
from imgforge.cli.cloud import CloudOptions
from imgforge.cli.convert import convert
from imgforge.cli.images import launch
from imgforge.cli.leftovers import images_app
from imgforge.cli.menu_lst import menu_lst_app
from imgforge.cli.metadata import metadata_app
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import (
    AccelOption,
    DiskArgument,
    JsonOption,
    LayoutOption,
    LockedOption,
    MachineOptions,
    OutOption,
    RecipeArgument,
    RunMachineOptions,
    SuiteOption,
    UserDataOption,
)
from imgforge.cli.preflight import preflight
from imgforge.cli.progress import shown_progress
from imgforge.cli.publish import publish
from imgforge.cli.register import register
from imgforge.cli.replay import replay
from imgforge.cli.seed import seed
from imgforge.cli.serve import serve
from imgforge.cli.snapshots import snapshots_app
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.cli.user_data import told_user_data, user_data_app
from imgforge.errors import ExitCode
from imgforge.layout import Layout

if TYPE_CHECKING:
    from imgforge.recipe import RecipeFile

app = typer.Typer(
    help="EC2's machine-image life on one laptop: build, boot, judge, convert, register.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
recipe_app = typer.Typer(
    help="Recipes: check one, or print their JSON Schema.", no_args_is_help=True
)
app.add_typer(recipe_app, name="recipe")
app.add_typer(cache_app, name="cache")
app.add_typer(metadata_app, name="metadata")
bundle_s3.bundle_app.command("edit")(edit)
bundle_s3.bundle_app.command("volume")(volume)
app.add_typer(bundle_s3.bundle_app, name="bundle")
app.add_typer(images_app, name="images")
app.add_typer(certificate_app, name="certificate")
app.add_typer(user_data_app, name="user-data")
app.add_typer(menu_lst_app, name="menu-lst")
app.add_typer(aki_app, name="aki")
app.add_typer(snapshots_app, name="snapshots")

DEFAULT_OUT = Path("out")


def _print_version(*, wanted: bool) -> None:
    if wanted:
        stdout_console().print(f"imgforge {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """EC2's machine-image life on one laptop: build, boot, judge, convert, register."""


@app.command()
def doctor(*, accel: AccelOption = AcceleratorWish.AUTO, as_json: JsonOption = False) -> int:
    """Look at this host, and prove whether KVM runs.

    Exit code 3 where something that is needed is missing; the report names what installs it.
    """
    from imgforge.doctor import examine_host

    with shown_progress(stderr_console()):
        report = examine_host(accel)
    if as_json:
        print_json(report.as_json())
    else:
        show.host_report(stdout_console(), report)
    return ExitCode.DONE if report.ready else ExitCode.HOST_OR_TOOL


@recipe_app.command()
def schema() -> None:
    """Print the JSON Schema of recipes."""
    from imgforge.recipe_file import recipe_schema

    sys.stdout.write(json.dumps(recipe_schema(), indent=2) + "\n")


@recipe_app.command()
def check(recipe: RecipeArgument) -> None:
    """Check a recipe without building it."""
    from imgforge.recipe_file import load_recipe

    loaded = load_recipe(recipe)
    layouts = ", ".join(loaded.recipe.disk.layouts)
    stdout_console().print(f"{recipe}: a good recipe for {layouts}", markup=False)


@app.command("build")
def build_disks(
    recipe: RecipeArgument,
    *,
    layout: LayoutOption = None,
    out: OutOption = DEFAULT_OUT,
    locked: LockedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build a recipe's raw disks, without root.

    The same recipe and packages give the same bytes each time. A disk whose input did not change
    is left as it is.
    """
    from imgforge.build import build
    from imgforge.recipe_file import load_recipe

    loaded = load_recipe(recipe)
    with shown_progress(stderr_console()):
        disks = build(loaded, layouts=_layouts(loaded, layout), out=out, locked=locked)
    if as_json:
        for disk in disks:
            print_json(show.disk_values(disk))
    else:
        show.disks(stdout_console(), disks)


@app.command("test")
@with_groups
def boot_and_judge(
    disk: DiskArgument,
    tests: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="TESTS", help="Your own pytest files or folders.", show_default=False
        ),
    ] = None,
    *,
    suite: SuiteOption = "full",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The evidence; else beside DISK.")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Take the expectations from this recipe.")
    ] = None,
    machine: MachineOptions,
    user_data: UserDataOption = None,
    as_json: JsonOption = False,
) -> int:
    """Boot a disk the way EC2 would, log in, test it, and judge it.

    After an accepted boot come the built-in suite and your own TESTS, each on a machine forked
    from a frozen one; --suite none leaves it at the boot. The disk is only read. Exit code 1 where
    it is rejected: the last lines name the stage that failed and show the console around it, or
    the tests that failed.
    """
    from imgforge import pipeline
    from imgforge.disk import open_disk
    from imgforge.recipe_file import load_recipe
    from imgforge.suite import choose_tests

    expect = load_recipe(recipe).recipe.expect if recipe else None
    wanted = choose_tests(suite, tests or ())
    told = told_user_data(user_data)
    with shown_progress(stderr_console()):
        trial = pipeline.plan_trial(
            open_disk(disk),
            surroundings=machine.surroundings(),
            folder=out,
            expect=expect,
            tests=wanted,
            user_data=told,
        )
        [tested] = pipeline.test([trial])
    if as_json:
        print_json(tested.verdict.model_dump(mode="json", by_alias=True))
    else:
        show.tested(stdout_console(), tested)
    return ExitCode.DONE if tested.verdict.accepted else ExitCode.IMAGE_REJECTED


app.command()(convert)
app.command()(register)
app.command()(launch)
app.command()(publish)


@app.command()
@with_groups
def run(
    recipe: RecipeArgument,
    *,
    layout: LayoutOption = None,
    out: OutOption = DEFAULT_OUT,
    to: Annotated[
        list[ArtifactFormat] | None, typer.Option("--to", help="Convert what is accepted.")
    ] = None,
    machine: RunMachineOptions,
    locked: LockedOption = False,
    suite: SuiteOption = "none",
    user_data: UserDataOption = None,
    where: CloudOptions,
    as_json: JsonOption = False,
) -> int:
    """Build, boot, judge, convert and register each layout.

    An image that has the name already is deregistered in favour of the new one. Registered is on
    AWS where boto3 is configured for it, else in the local catalog; `--url local` names that.
    """
    from imgforge import pipeline
    from imgforge.recipe_file import load_recipe
    from imgforge.suite import choose_tests

    loaded = load_recipe(recipe)
    tests = choose_tests(suite)
    told = told_user_data(user_data)
    with shown_progress(stderr_console()):
        results = pipeline.run(
            loaded,
            wish=pipeline.RunWish(
                layouts=_layouts(loaded, layout),
                out=out,
                formats=tuple(to or ()),
                surroundings=machine.surroundings(),
                locked=locked,
                tests=tests,
                user_data=told,
                cloud=where.wish(),
            ),
        )
    if as_json:
        print_json([show.run_values(result) for result in results])
    else:
        show.run_results(stdout_console(), results)
    accepted = all(result.tested.verdict.accepted for result in results)
    return ExitCode.DONE if accepted else ExitCode.IMAGE_REJECTED


app.command()(replay)
app.command()(seed)
app.command()(serve)
app.command()(preflight)


@app.command("verify-reproducible")
def verify_reproducible(
    recipe: RecipeArgument, *, layout: LayoutOption = None, as_json: JsonOption = False
) -> int:
    """Build twice, and name the first difference.

    The second time in another folder and cache, later, under another umask, time zone and
    language; downloaded packages are shared. Exit code 1 where a disk differs.
    """
    from imgforge.recipe_file import load_recipe
    from imgforge.reproducibility import verify_recipe

    loaded = load_recipe(recipe)
    with shown_progress(stderr_console()):
        found = verify_recipe(loaded, layouts=_layouts(loaded, layout))
    if as_json:
        print_json([show.comparison_values(comparison) for comparison in found])
    else:
        show.comparisons(stdout_console(), found)
    same = all(comparison.difference is None for comparison in found)
    return ExitCode.DONE if same else ExitCode.IMAGE_REJECTED


def _layouts(loaded: "RecipeFile", wanted: list[Layout] | None) -> tuple[Layout, ...]:
    """Return the layouts asked for, or the recipe's own; a recipe need not name the former."""
    return tuple(dict.fromkeys(wanted)) if wanted else loaded.recipe.disk.layouts
