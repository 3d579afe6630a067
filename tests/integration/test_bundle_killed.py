"""Bundle commands that are ended at some moment: all of the result is there, or none of it.

The moments are the file operations of a real process in one folder, as Python tells them (PEP
578): it sends itself a signal at one of them.
"""

import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge.bundle import KeyRing, read_certificate, read_private_key, verify_bundle
from tests.bundle_desk import KEYS, Desk
from tests.bundle_material import ACCOUNT

ENDED = """
import atexit, itertools, os, sys
place, moment, number, count = sys.argv[1], *map(int, sys.argv[2:4]), sys.argv[4]
events = itertools.count(1)
def meet(_event, arguments):
    if any(place in os.fsdecode(one) for one in arguments if isinstance(one, (str, os.PathLike))):
        if next(events) == moment:
            os.kill(os.getpid(), number)
sys.addaudithook(meet)
if not moment:
    atexit.register(lambda: open(count, "w").write(str(next(events))))
sys.argv = ["imgforge", *sys.argv[5:]]
from imgforge.cli import main
main()
"""
MANIFEST = "image.manifest.xml"
BUNDLE = (MANIFEST, "image.part.0", "image.part.1")
MANY = 20
FEW = 6

State = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Work:
    """A command in a folder: what is there before, and whether what is there is its result."""

    words: tuple[str, ...]
    prepare: Callable[[Desk, Path], None]
    is_done: Callable[[Desk, Path], bool]


def _nothing(_desk: Desk, place: Path) -> None:
    place.mkdir()


def _older_bundle(desk: Desk, place: Path) -> None:
    shutil.copytree(desk.folder / "small", place)
    (place / "image.part.7").write_bytes(b"of one that was larger")
    (place / "precious").write_bytes(b"mine")


def _older_image(_desk: Desk, place: Path) -> None:
    place.mkdir()
    (place / "back").write_bytes(b"older")


def _bundle(desk: Desk, place: Path) -> None:
    shutil.copytree(desk.folder / "bundle", place)


def _is_bundle(desk: Desk, place: Path) -> bool:
    if sorted(path.name for path in place.glob("image.*")) != sorted(BUNDLE):
        return False
    key, certificate = desk.folder / "private-key.pem", desk.folder / "certificate.pem"
    keys = KeyRing(read_certificate(certificate), read_private_key(key), account=ACCOUNT)
    return verify_bundle(place / MANIFEST, folder=place, keys=keys).is_good


def _is_image(desk: Desk, place: Path) -> bool:
    back = place / "back"
    return back.is_file() and back.read_bytes() == (desk.folder / "image").read_bytes()


CREATE = ("create", "image", *KEYS, "-u", ACCOUNT, "--out")
EXTRACT = ("extract", f"bundle/{MANIFEST}", "-k", "private-key.pem", "-o", "PLACE/back")
WORKS = {
    "create a folder": Work(
        (*CREATE, "PLACE/new"), _nothing, lambda d, p: _is_bundle(d, p / "new")
    ),
    "create in a folder": Work((*CREATE, "PLACE"), _nothing, _is_bundle),
    "create in the place of an older": Work(
        (*CREATE, "PLACE", "--force"), _older_bundle, _is_bundle
    ),
    "extract": Work(EXTRACT, _nothing, _is_image),
    "extract over an older": Work((*EXTRACT, "--force"), _older_image, _is_image),
    "edit": Work(
        ("edit", f"PLACE/{MANIFEST}", *KEYS, "-B", "ephemeral1=sdc"),
        _bundle,
        lambda desk, place: (
            b"ephemeral1" in (place / MANIFEST).read_bytes() and _is_bundle(desk, place)
        ),
    ),
    "verify": Work(("verify", f"PLACE/{MANIFEST}", *KEYS), _bundle, _is_bundle),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.create("--out", "bundle").returncode == 0
    (desk.folder / "old").mkdir()
    (desk.folder / "old" / "image").write_bytes(b"older")
    made = ("create", "old/image", *KEYS, "-u", ACCOUNT, "--out", "small")
    desk.good("imgforge", "bundle", *made)
    return desk


def state(place: Path) -> State:
    """Return the files that are there, but those that lie aside."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and not any(map(is_aside, path.relative_to(place).parts))
    }


def is_aside(name: str) -> bool:
    return name.startswith(".imgforge-aside-")


def asides(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if is_aside(path.name)]


def end(
    desk: Desk, work: Work, place: Path, *, moment: int, way: signal.Signals
) -> tuple[int, str]:
    """Run a command that sends itself a signal at a moment; moment 0 is none, and counts them."""
    program = [sys.executable, "-c", ENDED, str(place), str(moment), str(int(way))]
    words = [word.replace("PLACE", str(place)) for word in work.words]
    ended = desk.run_words([*program, str(desk.folder / "count"), "bundle", *words])
    return ended.returncode, ended.stderr


def moments(desk: Desk, work: Work, place: Path, *, count: int) -> list[int]:
    """Return moments of a command, from its first file operation to its last."""
    work.prepare(desk, place)
    code, said = end(desk, work, place, moment=0, way=signal.SIGTERM)
    assert code == 0, said
    assert work.is_done(desk, place)
    last = int((desk.folder / "count").read_text()) - 1
    return sorted({1 + (last - 1) * number // (count - 1) for number in range(count)})


WAYS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
QUICK = ("create in the place of an older", "extract")


@pytest.mark.parametrize("name", QUICK)
def test_a_command_that_is_ended_leaves_all_or_nothing(
    desk: Desk, tmp_path: Path, name: str
) -> None:
    for number, moment in enumerate(moments(desk, WORKS[name], tmp_path / "counted", count=FEW)):
        way = WAYS[number % len(WAYS)]
        end_and_look(desk, WORKS[name], tmp_path / str(moment), moment=moment, way=way)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
@pytest.mark.parametrize("way", WAYS)
def test_a_command_that_is_ended_at_many_moments_leaves_all_or_nothing(
    desk: Desk, tmp_path: Path, name: str, way: signal.Signals
) -> None:
    for moment in moments(desk, WORKS[name], tmp_path / "counted", count=MANY):
        end_and_look(desk, WORKS[name], tmp_path / str(moment), moment=moment, way=way)


def end_and_look(desk: Desk, work: Work, place: Path, *, moment: int, way: signal.Signals) -> None:
    """End a command at a moment; afterwards all or nothing is there, and a second run ends well."""
    work.prepare(desk, place)
    before = state(place)
    code, said = end(desk, work, place, moment=moment, way=way)
    there = state(place)
    if way is signal.SIGKILL:
        assert code == -signal.SIGKILL
        # In the middle of its last step there may be parts, but not what makes them a bundle.
        assert there == before or MANIFEST not in there or work.is_done(desk, place)
        code, said = end(desk, work, place, moment=0, way=way)
        assert code == 0 or "already" in said, said
        assert work.is_done(desk, place)
        assert state(place).get("precious") == before.get("precious")
    else:
        assert code == 130, said
        assert "nothing half made looks finished" in said
        assert there == before or work.is_done(desk, place)
    assert asides(place) == []
    shutil.rmtree(place)
