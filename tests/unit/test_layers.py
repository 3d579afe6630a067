"""The house holds: layers import downward only, and each dangerous thing has one door."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "imgforge"

ROOMS = {
    "rootfs",
    "disk",
    "machine",
    "metadata",
    "acceptance",
    "bundle",
    "convert",
    "catalog",
    "report",
    "user_data",
    "ec2",
    "volume",
}
# The flow: what wires the rooms together, from its lowest to its highest: each may import those
# before it.
FLOW = (
    "identity_key",
    "ec2_key",
    "transfer",
    "snapshot_transfer",
    "seed",
    "inventory",
    "cache",
    "build",
    "xen_appliance",
    "reproducibility",
    "start",
    "stored_bundle",
    "preflight",
    "conversion_preflight",
    "cloud_access",
    "image_disk",
    "registering",
    "trial_report",
    "testing",
    "suite",
    "trial",
    "launch",
    "image_lookup",
    "copy_plan",
    "image_copy",
    "image_sharing",
    "image_protection",
    "snapshot_copy",
    "deregistration",
    "leftovers",
    "pipeline",
    "publication",
    "ebs_conversion",
    "serve",
    "doctor",
    "volume_source",
    "volume_correction",
    "bundle_volume",
)
GROUND = {
    "accelerator",
    "artifact_format",
    "conversion_step",
    "image_choice",
    "layout",
    "fstab",
    "pv_way",
    "aki",
    "partition",
    "bucket_name",
    "made",
    "made_tags",
    "removal",
    "bookmark",
    "claim",
    "interruption",
    "control_group",
    "distribution",
    "places",
    "usage",
    "user_data_limit",
    "recipe",
    "recipe_file",
    "toml_file",
    "toml_position",
    "files",
    "host",
    "command",
    "programs",
    "errors",
    "progress",
}
# A part may import parts of a lower floor; ground and rooms of their own, rooms only by types.
FLOORS = {
    "cli": 99,
    "__main__": 99,
    **{part: 2 + number for number, part in enumerate(FLOW)},
    **dict.fromkeys(ROOMS, 1),
    **dict.fromkeys(GROUND, 0),
}

# What only some parts may touch: a module, or a dotted name in it.
DOORS = {
    "subprocess": {"command"},
    "sh": {"command"},
    "pty": {"command"},
    "os.system": {"command"},
    "os.popen": {"command"},
    "os.fork": {"command"},
    "os.forkpty": {"command"},
    "os.exec*": {"command"},
    "os.spawn*": {"command"},
    "os.posix_spawn*": {"command"},
    "asyncio.create_subprocess_*": {"command"},
    "asyncio.subprocess": {"command"},
    "multiprocessing": {"command"},
    "os.environ*": {"host"},
    "os.getenv*": {"host"},
    "os.putenv": {"host"},
    "os.unsetenv": {"host"},
    "boto3": {"ec2"},
    "botocore": {"ec2"},
    "cheroot": {"ec2"},
    "moto": {"ec2"},
    "sqlite3": {"catalog"},
    # What is registered is asked for by EC2's own calls alone, wherever it is.
    "imgforge.catalog.Account": {"ec2"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "sys.exit": {"cli", "__main__"},
    "sys.stdout": {"cli"},
    "sys.stderr": {"cli"},
    "os._exit": {"command", "cli"},
    "print": {"cli"},
    "input": {"cli"},
    "exit": {"cli"},
    "quit": {"cli"},
}
# Programs of their own. QEMU starts the relay for one connection: its streams are the connection;
# the guard takes its argument and outlives the build that started it.
STAND_ALONE = {"metadata/relay.py", "machine/entrance.py", "rootfs/guard.py"}
STAND_ALONE_MAY = {"sys.exit", "sys.stdout", "sys.stderr", "os._exit", "os.fork", "os.exec*"}


def parts_of(path: Path) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(path.rglob("*.py")):
        yield file.relative_to(path).as_posix(), ast.parse(file.read_text(encoding="utf-8"))


def part_of(file: str) -> str:
    """Return the room, or the module of the ground floor, that a file of the package is in."""
    return file.partition("/")[0].removesuffix(".py")


def broken_rules(file: str, tree: ast.Module) -> list[str]:
    part = part_of(file)
    if part not in FLOORS and part != "__init__":
        return [f"{file}: {part} has no place in the house; give it one in FLOORS"]
    return [
        f"{file}:{line}: {problem}"
        for line, problem in sorted({*_broken_imports(part, tree), *_forced_doors(file, tree)})
    ]


def _broken_imports(part: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "imgforge":
                    yield node.lineno, f"import {alias.name}: use from … import …"
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "relative import"
            elif (node.module or "").split(".")[0] == "imgforge":
                yield from _broken_import(part, node)


def _broken_import(part: str, node: ast.ImportFrom) -> Iterator[tuple[int, str]]:
    steps = (node.module or "").split(".")[1:]
    for alias in node.names:
        if not steps and alias.name == "__version__":
            continue
        other = steps[0] if steps else alias.name
        if other == part:
            continue
        if other not in FLOORS:
            yield node.lineno, f"imports {other}, which has no place in the house"
        elif part == "__init__":
            yield node.lineno, f"the package itself imports {other}"
        elif FLOORS[other] > FLOORS[part]:
            yield node.lineno, f"{part} imports {other}, a floor above"
        elif FLOORS[other] == FLOORS[part] == 1:
            yield from _broken_handover(part, node, alias.name)
        elif FLOORS[part] > 1 and len(steps) > 1 and other in ROOMS:
            yield node.lineno, f"{part} goes into {node.module} instead of through its door"


def _broken_handover(part: str, node: ast.ImportFrom, name: str) -> Iterator[tuple[int, str]]:
    """Rooms know each other only by the types they hand over, through the package's door."""
    steps = (node.module or "").split(".")
    if len(steps) != 2:
        yield node.lineno, f"{part} goes into {node.module} instead of through its door"
    elif not _is_type(node.module or "", name):
        yield node.lineno, f"{part} imports {node.module}.{name}, which is no class"


def _is_type(module: str, name: str) -> bool:
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return False
    # A union of classes is a type that is handed over, too.
    return inspect.isclass(value) or type(value).__name__ in {"UnionType", "_UnionGenericAlias"}


def _forced_doors(file: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    part = part_of(file)
    for line, name in _touched_names(tree):
        for door, keepers in DOORS.items():
            if file in STAND_ALONE and door in STAND_ALONE_MAY:
                continue
            if part not in keepers and _is_behind(name, door):
                yield line, f"{name} is touched outside {', '.join(sorted(keepers))}"


def _is_behind(name: str, door: str) -> bool:
    if door.endswith("*"):
        return name.startswith(door[:-1])
    return name == door or name.startswith(door + ".")


def _touched_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield every imported or used global name, in full: os.environ for `from os import environ`.

    Names of a function's own are not told from builtins: nobody should call one `print`.
    """
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (full := _full_name(node, known)):
            yield node.lineno, full
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.lineno, known.get(node.id, node.id)
        elif isinstance(node, ast.Call):
            yield from _imported_by_call(node, known)


def _full_name(node: ast.Attribute, known: dict[str, str]) -> str:
    steps = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        steps.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name) or inner.id not in known:
        return ""
    return ".".join([known[inner.id], *reversed(steps)])


def _imported_by_call(node: ast.Call, known: dict[str, str]) -> Iterator[tuple[int, str]]:
    """Yield what __import__ or importlib.import_module is asked for by name."""
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    full = _full_name(node.func, known) if isinstance(node.func, ast.Attribute) else known.get(name)
    if name == "__import__" or full == "importlib.import_module":
        for argument in node.args[:1]:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield node.lineno, argument.value


def test_every_module_keeps_to_its_floor_and_to_the_doors() -> None:
    problems = [problem for file, tree in parts_of(PACKAGE) for problem in broken_rules(file, tree)]
    assert not problems, "\n".join(problems)


def test_there_are_modules_to_look_at() -> None:
    files = {file for file, _ in parts_of(PACKAGE)}
    assert {"command.py", "recipe.py", "disk/disk.py", "cli/__init__.py"} <= files


@pytest.mark.parametrize(
    ("file", "source"),
    [
        # floors
        ("recipe.py", "from imgforge.disk import Disk"),
        ("host.py", "from imgforge.pipeline import run"),
        ("disk/build.py", "from imgforge.pipeline import run"),
        ("disk/build.py", "from imgforge import pipeline"),
        ("disk/build.py", "from imgforge.cli.terminal import stdout_console"),
        ("pipeline.py", "from imgforge.cli import app"),
        ("disk/build.py", "def f():\n    from imgforge import pipeline"),
        ("newroom/x.py", ""),
        ("disk/build.py", "from imgforge.unheard_of import X"),
        ("disk/build.py", "from . import disk"),
        ("disk/build.py", "import imgforge.pipeline"),
        ("__init__.py", "from imgforge.host import cache_dir"),
        # rooms
        ("acceptance/watch.py", "from imgforge.machine.event import ConsoleLine"),
        ("disk/build.py", "from imgforge.rootfs.tree import Rootfs"),
        ("disk/build.py", "from imgforge.rootfs import tree"),
        ("disk/build.py", "from imgforge.rootfs import prepare_rootfs"),
        ("disk/build.py", "from imgforge import rootfs"),
        ("pipeline.py", "from imgforge.rootfs.tree import Rootfs"),
        # programs
        ("disk/build.py", "import subprocess"),
        ("disk/build.py", "import subprocess as s"),
        ("disk/build.py", "from subprocess import run"),
        ("disk/build.py", "import os\nos.system('x')"),
        ("disk/build.py", "import os as o\no.execvp('x', [])"),
        ("disk/build.py", "from os import posix_spawn"),
        ("disk/build.py", "import os\nos.fork()"),
        ("disk/build.py", "import sh"),
        ("disk/build.py", "from sh import mke2fs"),
        ("disk/build.py", "__import__('subprocess')"),
        ("disk/build.py", "import importlib\nimportlib.import_module('subprocess')"),
        ("machine/machine.py", "import asyncio\nasyncio.create_subprocess_exec('x')"),
        # the environment
        ("disk/build.py", "import os\nos.environ['HOME']"),
        ("disk/build.py", "import os\nos.environb"),
        ("disk/build.py", "from os import environ as e"),
        ("disk/build.py", "from os import getenv"),
        ("metadata/relay.py", "import os\nos.environ"),
        ("cli/command_line.py", "import os\nos.getenv('X')"),
        # printing and exiting
        ("disk/build.py", "print('x')"),
        ("disk/build.py", "log = print"),
        ("pipeline.py", "import sys\nsys.exit(1)"),
        ("pipeline.py", "import sys\nsys.stderr.write('x')"),
        ("pipeline.py", "from sys import stdout"),
        ("disk/build.py", "exit()"),
        ("disk/build.py", "import typer"),
        ("doctor.py", "from rich.table import Table"),
        # clouds and records
        ("catalog/account.py", "import boto3"),
        ("disk/build.py", "from botocore.exceptions import ClientError"),
        ("disk/build.py", "import sqlite3"),
        ("pipeline.py", "from imgforge.catalog import Account"),
        ("cli/app.py", "from imgforge.catalog import Account"),
    ],
)
def test_a_broken_rule_is_found(file: str, source: str) -> None:
    assert broken_rules(file, ast.parse(source))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("disk/build.py", "from imgforge.rootfs import Rootfs"),
        ("acceptance/watch.py", "from imgforge.machine import MachineEvent"),
        ("disk/build.py", "from imgforge.disk.disk import Disk"),
        ("disk/build.py", "from imgforge import command"),
        ("disk/build.py", "from imgforge.command import run"),
        ("pipeline.py", "from imgforge.rootfs import prepare_rootfs"),
        ("cli/app.py", "from imgforge import __version__, pipeline"),
        ("cli/app.py", "import sys, typer\nsys.exit(0)\nprint()"),
        ("command.py", "import sh, os\nos._exit(1)"),
        ("host.py", "import os\nos.environ"),
        ("catalog/account.py", "import sqlite3"),
        ("ec2/client.py", "import boto3, botocore.config"),
        ("metadata/relay.py", "import os, sys\nsys.stdout.buffer.write(b'')\nsys.exit(0)"),
        ("disk/build.py", "import shutil, shlex\nshutil.which('x')"),
        ("disk/build.py", "console.print('x')"),
        ("disk/build.py", "import os\nos.open('x', 0)"),
    ],
)
def test_what_keeps_to_the_rules_is_left_alone(file: str, source: str) -> None:
    assert broken_rules(file, ast.parse(source)) == []
