"""An endpoint that fails in the middle of every command: told in words, and run again it ends well.

The faults are those of `imgforge serve --fault`; the endpoint runs in this process.
"""

import io
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge.cli.command_line import run_command_line
from imgforge.ec2 import WholeWish, parse_fault, serving_all
from imgforge.stored_bundle import read_stored_bundle
from tests.ami_desk import HOME, AmiDesk, credentials, new_account
from tests.bundle_material import ACCOUNT as BUNDLER
from tests.bundle_material import make_material, noise
from tests.hostile_endpoint import hostile_endpoint
from tests.registering import make_disk
from tests.serving import OTHER_ACCOUNT, Serving
from tests.snapshot_disks import write_disk

WEST = "eu-west-1"
REGIONS = (HOME, WEST)
KINDS = ("cut", "cut-after", "error", "unavailable", "denied", "expired", "throttle")
_BLOCK_BYTES = 512 * 1024
_COURTESIES = {"DescribeKey", "DescribeRegions", "DescribeSnapshotAttribute"}
"""What is asked for to tell more, and not needed; or where a refusal says something."""
_REFUSALS = {"denied", "expired"}
_ID = re.compile(r"(?:ami|snap)-[0-9a-f]+")
_REGISTERED = "--unverified --name web-2"

COMMANDS = (
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
    f"snapshots unshare SNAP --account {OTHER_ACCOUNT}",
    "snapshots tag SNAP a=b",
    "snapshots delete FREE",
    "snapshots upload DISK --verify",
    "snapshots download SNAP --out OUT --force",
    f"publish IMAGE --to {WEST} --account {OTHER_ACCOUNT}",
    f"publish DISK --to {WEST} {_REGISTERED}",
    f"register DISK {_REGISTERED}",
    f"register --snapshot SNAP {_REGISTERED} --virtualization-type hvm --architecture x86_64",
    f"register --manifest MANIFEST {_REGISTERED} --virtualization-type hvm",
)
_QUICK = {
    (f"images copy IMAGE --to {WEST} --wait", "cut-after"),
    (f"register DISK {_REGISTERED}", "cut"),
}
MATRIX = [
    pytest.param(text, kind, marks=[] if (text, kind) in _QUICK else [pytest.mark.slow])
    for text in COMMANDS
    for kind in KINDS
]


class Near(Serving):
    """An endpoint in this process, at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url


@dataclass
class Stage:
    """Where a command is tried: a catalog, and an account of its own in it."""

    catalog: Path
    folder: Path
    account: str
    port: int  # the same all the time: an upload is gone on with at the same endpoint alone

    @contextmanager
    def endpoint(self, *faults: str) -> Iterator[AmiDesk]:
        """Run the endpoint with these faults."""
        wish = WholeWish(
            catalog=self.catalog,
            storage=self.catalog / "s3",
            read_bundle=read_stored_bundle,
            pending_s=0.0,
            port=self.port,
            faults=[parse_fault(one) for one in faults],
        )
        with serving_all(wish) as url:
            yield AmiDesk(Near(url), self.account)

    def words(self, desk: AmiDesk, text: str) -> list[str]:
        """Make what a command is about; return its words."""
        named = {"OUT": str(self.folder / "out.raw"), "DISK": str(self.folder / "disk.raw")}
        if "IMAGE" in text or "SNAP" in text:
            named["IMAGE"] = desk.image()
            named["SNAP"] = desk.snapshots()[0]
        if "FREE" in text:
            desk.ec2().deregister_image(ImageId=desk.image())
            named["FREE"] = desk.snapshots()[0]
        if "gc" in text:
            desk.ec2().deregister_image(ImageId=desk.image())
        if "DISK" in text and text.startswith("snapshots"):
            write_disk(self.folder / "disk.raw", {0: b"1", 1: b"2"}, size_bytes=2 * _BLOCK_BYTES)
        elif "DISK" in text:
            make_disk(self.folder / "disk.raw", size_mib=2)
        if "MANIFEST" in text:
            named["MANIFEST"] = self._upload_bundle(desk)
        return [named.get(word, word) for word in text.split()]

    def _upload_bundle(self, desk: AmiDesk) -> str:
        image = self.folder / "image"
        image.write_bytes(noise(2**20))
        manifest = make_material(self.folder, image).bundle.manifest_path
        bucket = f"bucket-{self.account}"
        assert desk.run("bundle", "upload", str(manifest), f"{bucket}/f").code == 0
        return f"{bucket}/f/{manifest.name}"


def run(desk: AmiDesk, words: list[str]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_command_line([*words, "--url", desk.serving.url])
    said = out.getvalue() + err.getvalue()
    assert "Traceback" not in said
    assert "failed unexpectedly" not in said
    return code, said


def things(desk: AmiDesk) -> set[str]:
    """Return the ids of all images and snapshots in all regions."""
    images = {one["ImageId"] for region in REGIONS for one in desk.images(region)}
    return images | {one for region in REGIONS for one in desk.snapshots(region)}


def named(desk: AmiDesk, said: str) -> set[str]:
    """Return the ids that are named in what a command said, and the snapshots of such images."""
    ids = set(_ID.findall(said))
    images = [one for region in REGIONS for one in desk.images(region) if one["ImageId"] in ids]
    devices = [device for one in images for device in one["BlockDeviceMappings"]]
    return ids | {device["Ebs"]["SnapshotId"] for device in devices if "Ebs" in device}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    monkeypatch.setattr("imgforge.snapshot_transfer.wish._PATIENCE_S", 0.3)
    monkeypatch.setattr("imgforge.snapshot_transfer.download._PATIENCE_S", 0.3)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dies") / "catalog"


def staged(catalog: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, text: str) -> Stage:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    is_bundled = "MANIFEST" in text  # its account is in it
    own = folder / "catalog" if is_bundled else catalog
    stage = Stage(own, folder, BUNDLER if is_bundled else new_account(), port)
    stage.folder.mkdir()
    for key, value in credentials(stage.folder / "data", stage.account).items():
        monkeypatch.setenv(key, value)
    return stage


def asked_by(stage: Stage, text: str) -> tuple[list[str], int]:
    """Return the actions that a command asks for, and how many things there are after it."""
    with stage.endpoint() as desk:
        words = stage.words(desk, text)
        with hostile_endpoint(desk.serving.url) as between:
            code, said = run(AmiDesk(Near(between.url), stage.account), words)
            assert code == 0, said
            return list(dict.fromkeys(between.asked)), len(things(desk))


@pytest.mark.parametrize(("text", "kind"), MATRIX)
def test_a_command_whose_endpoint_fails_says_so_and_is_finished_by_the_next_run(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: str
) -> None:
    actions, count = asked_by(staged(catalog, tmp_path / "plain", monkeypatch, text=text), text)
    for action in actions:
        if action == "S3":
            continue
        stage = staged(catalog, tmp_path / action, monkeypatch, text=text)
        with stage.endpoint() as desk:
            words = stage.words(desk, text)
            before = things(desk)
        told = f"{kind}:{action} of {text}"
        with stage.endpoint(f"{kind}:{action}@1+") as desk:
            code, said = run(desk, words)
        # Asked again, what was done already is seen to be; and a snapshot that may not be deleted
        # is told to stay, beside an image that is gone.
        is_told = kind == "cut-after" or action in _COURTESIES or " stays: " in said
        assert code in ({0, 3, 4} if is_told else {3, 4}), f"{told}: {code} {said}"
        with stage.endpoint() as desk:
            left = things(desk) - before
            unnamed = left - named(desk, said)
            if "a snapshot may have been started" in said:  # its id was in the answer
                unnamed = set()
            assert code == 0 or not unnamed, f"{told}: {unnamed} stay unnamed: {said}"
            again, said_again = run(desk, words)
            is_gone = "NotFound" in said_again and ("deregister" in text or "delete" in text)
            assert again == 0 or is_gone, f"{told}: {said}\n{said_again}"
            # What may not be deleted was named, and is told no more by a run that finds no image.
            kept = set(_ID.findall(said)) if kind in _REFUSALS and " stays: " in said else set()
            assert len(things(desk) - kept) == count, f"{told}: {said}\n{said_again}"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (f"images copy IMAGE --to {WEST} --wait", "CopyImage"),
        pytest.param("snapshots upload DISK", "PutSnapshotBlock", marks=pytest.mark.slow),
        pytest.param("snapshots upload DISK", "CompleteSnapshot", marks=pytest.mark.slow),
        pytest.param(f"register DISK {_REGISTERED}", "RegisterImage", marks=pytest.mark.slow),
    ],
)
def test_silence_comes_to_an_end(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, action: str
) -> None:
    monkeypatch.setattr("imgforge.ec2.cloud._SILENCE_LIMIT_S", 1)
    stage = staged(catalog, tmp_path / "silence", monkeypatch, text=text)
    with stage.endpoint() as desk:
        words = stage.words(desk, text)
    with stage.endpoint(f"timeout:{action}@1+") as desk:
        code, said = run(desk, words)
    assert code == 3, said
    assert "does not answer" in said
    with stage.endpoint() as desk:
        code, said = run(desk, words)
        assert code == 0, said
