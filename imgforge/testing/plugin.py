"""The pytest plugin: `pytest --image DISK tests/` (entry point pytest11).

pytest loads it in every run of an environment that imgforge is installed in, so it imports what
it needs only once an image is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from imgforge.testing.machine import Console, Machine, Ssh
    from imgforge.testing.marks import Mark
    from imgforge.testing.metadata_probe import Metadata
    from imgforge.testing.plan import Plan
    from imgforge.testing.session import TestSession

_SESSION = pytest.StashKey["TestSession"]()
_RUN_END = pytest.StashKey[ExitStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("imgforge", "machine images (imgforge)")
    group.addoption(
        "--image",
        metavar="IMAGE",
        help="what is tested: a recipe (.toml), a raw or qcow2 disk, or an ami id of the catalog",
    )
    group.addoption("--layout", default="", help="of a recipe: its first one by default")
    group.addoption(
        "--accel",
        choices=("auto", "kvm", "tcg"),
        default="auto",
        help="what runs the machines' instructions",
    )
    group.addoption(
        "--pv-boot",
        choices=("direct", "xen-direct", "xen-grub"),
        default="direct",
        help="how PV disks are booted: without Xen (direct), or as genuine PV guests",
    )
    group.addoption(
        "--aki",
        metavar="ID|NAME",
        default="",
        help="the PV-GRUB that PV disks are booted by; else the newest for the disk",
    )
    group.addoption("--login-user", default="", help="who logs in, where no recipe tells it (root)")
    group.addoption(
        "--guest-network", action="store_true", help="let the machines out to the network"
    )
    group.addoption(
        "--user-data",
        metavar="FILE",
        default="",
        help="user data of the machines of tests without a mark of their own for it",
    )
    group.addoption(
        "--evidence",
        metavar="DIR",
        default="out/tests",
        help="where consoles, requests and the report go (out/tests); emptied first",
    )
    group.addoption(
        "--rerun-failed",
        action="store_true",
        help="run each failed test once more, on a fresh machine; if it passes it is named FLAKY",
    )
    group.addoption(
        "--quarantine",
        metavar="FILE",
        default="",
        help="TOML with tests whose failure is known and does not count, each until a date",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marks; in the run's main process, find the image and take the folder."""
    from imgforge.testing.marks import MARKS

    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    if config.getoption("--image") == "":
        raise pytest.UsageError("--image names nothing: is a variable of the command line empty?")
    if not config.getoption("--image"):
        for option in ("--rerun-failed", "--quarantine"):
            if config.getoption(option):
                raise pytest.UsageError(f"{option} is for tests of an image: name it with --image.")
        return
    config.stash[_RUN_END] = ExitStack()
    if not config.option.collectonly:
        _prepare_run(config)


def _prepare_run(config: pytest.Config) -> None:
    """Hook into the run; do once what all workers need: an empty folder, a recipe's disk."""
    from imgforge.errors import BadInputError, ImgforgeError
    from imgforge.testing.evidence import evidence_folder
    from imgforge.testing.image import find_image
    from imgforge.testing.run_hooks import ClosingWords, RunHooks

    is_main = not hasattr(config, "workerinput")
    evidence = _evidence(config)
    try:
        hooks = RunHooks(config, evidence)
        if is_main:
            config.stash[_RUN_END].enter_context(evidence_folder(evidence))
            hooks.image = find_image(_wish(config).image, until=config.stash[_RUN_END])
    except BadInputError as error:
        raise pytest.UsageError(f"{error}\n{error.hint}".strip()) from None
    except ImgforgeError as error:
        pytest.exit(f"{error}\n{error.hint}".strip(), returncode=int(error.exit_code))
    config.pluginmanager.register(hooks, "imgforge-run")
    if is_main:
        config.pluginmanager.register(ClosingWords(hooks, evidence), "imgforge-closing")
    if config.getoption("--rerun-failed"):
        _rerun_once(config)


def _rerun_once(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("rerunfailures"):
        raise pytest.UsageError("--rerun-failed needs the plugin pytest-rerunfailures.")
    config.option.reruns = config.option.reruns or 1


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the machines' loop and let go of the folder."""
    end = config.stash.get(_RUN_END, None)
    if end is not None:
        end.close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Let `-n auto` be as many machines as processors and memory allow."""
    if not config.getoption("--image"):
        return None
    from imgforge.places import machines_at_a_time
    from imgforge.testing.forge import DEFAULT_MACHINE_BYTES

    return machines_at_a_time(DEFAULT_MACHINE_BYTES)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Refuse tests whose machine nobody can give them: told once, before any test runs.

    As an error of their collection, which ends pytest with 2.
    """
    of_machines = [
        item for item in items if _uses(item, "machine") or _uses(item, "shared_machine")
    ]
    if not of_machines:
        return
    if config.getoption("--image"):
        problems = _misuse(config, of_machines)
    elif config.option.collectonly:
        problems = []
    else:
        count = f"{len(of_machines)} tests need" if len(of_machines) > 1 else "This test needs"
        problems = [f"{count} a machine: name an image with --image."]
    if problems:
        place = of_machines[0].nodeid.partition("::")[0]
        told = pytest.CollectReport(place, "failed", "\n".join(problems), [])
        config.hook.pytest_collectreport(report=told)
        # pytest-xdist would run the others all the same.
        items.clear()
        session.shouldstop = "1 error during collection"


def _uses(item: pytest.Item, fixture: str) -> bool:
    """Tell whether a test uses a fixture of this plugin, not one of the same name elsewhere."""
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    found = known.get(fixture, ()) if fixture in getattr(item, "fixturenames", ()) else ()
    return any(definition.func.__module__ == __name__ for definition in found[-1:])


def _misuse(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    from imgforge.testing.mark_use import MarkUse, tell_misuse
    from imgforge.testing.marks import MARK_NAMES

    lines = config.getini("markers")
    known = MARK_NAMES | {line.partition(":")[0].partition("(")[0].strip() for line in lines}
    return tell_misuse(
        MarkUse(
            test=item.nodeid,
            marks=tuple(_marks(item)),
            unknown=tuple(mark.name for mark in item.iter_markers() if mark.name not in known),
            has_own=_uses(item, "machine"),
        )
        for item in items
    )


def _evidence(config: pytest.Config) -> Path:
    return Path(str(config.getoption("--evidence"))).absolute()


def _wish(config: pytest.Config) -> Any:
    from imgforge.accelerator import AcceleratorWish
    from imgforge.aki import read_pv_grub
    from imgforge.pv_way import PvWay, PvWish
    from imgforge.recipe import ExpectPart
    from imgforge.testing.image import ImageWish
    from imgforge.testing.session import SessionWish

    expect = config.getoption("--expect", None)  # an option of imgforge/testing/results.py
    aki = str(config.getoption("--aki"))
    return SessionWish(
        image=ImageWish(
            name=str(config.getoption("--image")),
            out=_evidence(config).parent,
            layout=config.getoption("--layout"),
            login_user=config.getoption("--login-user"),
            expect=ExpectPart.model_validate_json(expect) if expect else None,
        ),
        evidence=_evidence(config),
        accelerator=AcceleratorWish(config.getoption("--accel")),
        network=config.getoption("--guest-network"),
        pv=PvWish(PvWay(config.getoption("--pv-boot")), read_pv_grub(aki) if aki else None),
        user_data=str(config.getoption("--user-data")),
    )


def session_of(config: pytest.Config) -> TestSession:
    """Return this process's session, begun with the first test that needs it."""
    if not config.getoption("--image"):
        pytest.fail("This test needs a machine: name an image with --image.", pytrace=False)
    if _SESSION not in config.stash:
        from imgforge.testing.session import TestSession

        config.stash[_SESSION] = config.stash[_RUN_END].enter_context(TestSession(_wish(config)))
    return config.stash[_SESSION]


def _plan(request: pytest.FixtureRequest, session: TestSession) -> Plan:
    from imgforge.testing.marked_plan import MarkError

    try:
        return session.plan(_marks(request.node))
    except MarkError as error:
        wrong = str(error)
    pytest.fail(wrong, pytrace=False)


def _marks(node: pytest.Item) -> list[Mark]:
    """Return the plugin's marks on a test, the outermost first: an inner one has the last word."""
    from imgforge.testing.marks import MARK_NAMES, Mark

    marks = reversed(list(node.iter_markers()))
    return [Mark(mark.name, mark.args, mark.kwargs) for mark in marks if mark.name in MARK_NAMES]


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine of the image under test, fresh for this test: a clone of a frozen one."""
    session = session_of(request.config)
    plan = _plan(request, session)
    from imgforge.testing.lending import LOANS, lend

    loans = request.node.stash[LOANS]
    with lend(session, plan, loans=loans, test=request.node.nodeid) as lent:
        yield lent.machine


@pytest.fixture(scope="session")
def shared_machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine that all tests of this process share, with no marks: for those that only look."""
    with lend_to_all(request, []) as machine:
        yield machine


@contextmanager
def lend_to_all(request: pytest.FixtureRequest, marks: list[Mark]) -> Iterator[Machine]:
    """Lend a machine with such marks to all tests of this process that use the asking fixture."""
    session = session_of(request.config)
    from imgforge.testing.lending import LOANS, lend

    loans = request.config.stash.setdefault(LOANS, [])
    fixture = str(request.fixturename)
    with lend(session, session.plan(marks), loans=loans, fixture=fixture) as lent:
        yield lent.machine


@pytest.fixture
def console(machine: Machine) -> Console:
    """The serial console of `machine`."""
    return machine.console


@pytest.fixture
def metadata(machine: Machine) -> Metadata:
    """The metadata service of `machine`: what it was asked."""
    return machine.metadata


@pytest.fixture
def ssh(machine: Machine) -> Ssh:
    """`machine` by SSH, as its owner logs in."""
    return machine.ssh
