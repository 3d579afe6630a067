"""Every command against an endpoint that answers wrongly: an error in words, whatever it says."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

from imgforge.cli.command_line import run_command_line
from imgforge.cloud_access import reached_ec2
from imgforge.ec2 import CloudWish, Credentials
from imgforge.errors import ImgforgeError
from imgforge.image_disk import disk_of
from tests.ami_desk import AmiDesk, credentials, new_account
from tests.hostile_endpoint import WHOLE, HostileEndpoint, hostile_endpoint, member_change
from tests.registering import make_disk
from tests.serving import OTHER_ACCOUNT, Serving
from tests.snapshot_disks import write_disk

WEST = "eu-west-1"
_MOST_S = 60
_BLOCK_BYTES = 512 * 1024


class Stall:
    """What a command is run on: an account with an image, behind an endpoint that lies."""

    def __init__(self, hostile: HostileEndpoint, serving: Serving, folder: Path) -> None:
        self.hostile = hostile
        self.account = new_account()
        self.desk = AmiDesk(serving, self.account)
        self.folder = folder

    def words(self, text: str) -> list[str]:
        """Return a command's words, with what they stand for in their place."""
        image_id = self.desk.image() if "IMAGE" in text or "SNAP" in text else ""
        snapshot_id = self.desk.snapshots()[0] if "SNAP" in text else ""
        disk = self.folder / "disk.raw"
        if "DISK" in text and not disk.exists():
            if text.startswith("snapshots"):
                write_disk(disk, {0: b"1"}, size_bytes=_BLOCK_BYTES)
            else:
                make_disk(disk, size_mib=2)
        named = {
            "IMAGE": image_id,
            "SNAP": snapshot_id,
            "DISK": str(disk),
            "OUT": str(self.folder / "out.raw"),
        }
        return [named.get(word, word) for word in text.split()]

    def run(self, words: list[str]) -> tuple[int, str]:
        """Run a command; return its exit code and all it said."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run_command_line([*words, "--url", self.hostile.url])
        return code, out.getvalue() + err.getvalue()


COMMANDS = (
    "images",
    "images find --owner self",
    "images show IMAGE",
    f"images copy IMAGE --to {WEST} --wait",
    f"images share IMAGE --account {OTHER_ACCOUNT} --with-snapshots",
    f"images unshare IMAGE --account {OTHER_ACCOUNT}",
    "images tag IMAGE a=b",
    "images protect IMAGE",
    "images unprotect IMAGE",
    "images deprecate IMAGE --at 2030-01-01",
    "images deregister IMAGE --with-snapshots",
    "images gc --yes --older-than 0s",
    "snapshots list",
    "snapshots show SNAP",
    f"snapshots copy SNAP --to {WEST} --wait",
    f"snapshots share SNAP --account {OTHER_ACCOUNT}",
    "snapshots tag SNAP a=b",
    "snapshots delete SNAP",
    "snapshots upload DISK --verify",
    "snapshots download SNAP --out OUT --force",
    f"publish IMAGE --to {WEST} --account {OTHER_ACCOUNT}",
    "register DISK --unverified --name x1x",
    "register --snapshot SNAP --unverified --name x1x --virtualization-type hvm "
    "--architecture x86_64",
)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    catalog = tmp_path_factory.mktemp("hostile") / "catalog"
    with Serving(catalog, "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def hostile(serving: Serving) -> Iterator[HostileEndpoint]:
    with hostile_endpoint(serving.url) as running:
        yield running


@pytest.fixture
def new_stall(
    tmp_path: Path,
    hostile: HostileEndpoint,
    serving: Serving,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], Stall]:
    # Not how long it is waited between two attempts is looked at here.
    monkeypatch.setattr(
        "botocore.retries.standard.ExponentialBackoff._MAX_BACKOFF", 0, raising=False
    )
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setattr("imgforge.ec2.cloud._SILENCE_LIMIT_S", 2)
    monkeypatch.setattr("imgforge.snapshot_transfer.wish._PATIENCE_S", 0.5)
    monkeypatch.setattr("imgforge.ec2.compute._KNOWN_LIMIT_S", 1.0)
    monkeypatch.setattr("imgforge.ec2.compute._IMAGE_LIMIT_S", 1.0)
    monkeypatch.setattr("imgforge.ec2.compute._SNAPSHOT_LIMIT_S", 1.0)
    monkeypatch.setattr("imgforge.ec2.waiting._UNKNOWN_LIMIT_S", 1.0)
    count = 0

    def new() -> Stall:
        nonlocal count
        count += 1
        folder = tmp_path / str(count)
        folder.mkdir()
        stall = Stall(hostile, serving, folder)
        for name, value in credentials(folder / "data", stall.account).items():
            monkeypatch.setenv(name, value)
        hostile.action = ""
        return stall

    return new


def check(code: int, said: str, what: str) -> None:
    """Check how a command ended: in words, by the documented codes, in plain characters."""
    assert "failed unexpectedly" not in said, f"{what}: {said}"
    assert "Traceback" not in said, f"{what}: {said}"
    assert code in {0, 2, 3, 4}, f"{what}: {code} {said}"
    strange = {one for one in said if not one.isprintable() and one != "\n"}
    assert not strange, f"{what}: {strange} in {said!r}"


def asked_by(stall: Stall, text: str) -> list[str]:
    """Return the actions that a command asks for, where all is well."""
    words = stall.words(text)
    stall.hostile.asked.clear()
    code, said = stall.run(words)
    assert code == 0, said
    return list(dict.fromkeys(stall.hostile.asked))


def trial(stall: Stall, text: str, *, action: str, what: str, is_error: bool) -> None:
    words = stall.words(text)
    stall.hostile.action = action
    began_s = time.monotonic()
    code, said = stall.run(words)
    told = f"{what} for {action} of {text}"
    check(code, said, told)
    assert time.monotonic() - began_s < _MOST_S, told
    if action == "PutSnapshotBlock" and what in _OF_A_BODY:
        return
    assert not (is_error and code == 0 and action not in {"DescribeKey", "S3"}), f"{told}: {said}"


HARMLESS = {"no headers", "a long length"}
"""What an answer can be read through: EC2's is in its body alone."""
_OF_A_BODY = {"half of it", "an end too early"}
_QUICK = {"images"}


@pytest.mark.parametrize(
    "text",
    [pytest.param(one, marks=[] if one in _QUICK else [pytest.mark.slow]) for one in COMMANDS],
)
def test_an_answer_that_is_none_is_told_in_words(new_stall: Callable[[], Stall], text: str) -> None:
    for action in asked_by(new_stall(), text):
        for what, change in WHOLE.items():
            stall = new_stall()
            stall.hostile.change = change
            trial(stall, text, action=action, what=what, is_error=what not in HARMLESS)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        pytest.param(one, count, marks=marks)
        for one in COMMANDS
        for count, marks in ((3, ()), (60, (pytest.mark.slow,)))
        if one in {*_QUICK, "snapshots upload DISK --verify"} or count > 3
    ],
)
def test_a_member_that_is_wrong_is_told_in_words(
    new_stall: Callable[[], Stall], text: str, count: int
) -> None:
    for action in asked_by(new_stall(), text):
        for seed in range(count):
            stall = new_stall()
            stall.hostile.change = member_change(seed)
            trial(stall, text, action=action, what=f"change {seed}", is_error=False)


@pytest.mark.slow
def test_the_disk_of_an_image_is_asked_for_in_vain(new_stall: Callable[[], Stall]) -> None:
    for action in ("DescribeImages", "ListSnapshotBlocks", "GetSnapshotBlock"):
        for what, change in [*WHOLE.items(), *((f"{n}", member_change(n)) for n in range(60))]:
            stall = new_stall()
            [image_id] = stall.words("IMAGE")
            stall.hostile.action, stall.hostile.change = action, change
            wish = CloudWish(url=stall.hostile.url, credentials=Credentials(stall.account, "b"))
            with (
                suppress(ImgforgeError),
                reached_ec2(wish, attempts=1) as cloud,
                disk_of(cloud, cloud.compute.image(image_id)) as disk,
            ):
                assert disk.size_bytes, what
