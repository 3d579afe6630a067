"""Commands that are killed: what was acknowledged stays, and run again they finish the work."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge.ec2 import CloudWish, open_cloud
from imgforge.transfer import BundlePlace
from tests.bundle_material import Material, make_material, noise
from tests.s3_serving import served_s3

MIB = 2**20
PROGRAM = str(Path(sys.executable).parent / "imgforge")
PLACE = "my-bucket/folder"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "never-shown"}
MOST_KILLS = 40


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A bundle of four parts."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "image").write_bytes(noise(31 * MIB))
    return make_material(folder, folder / "image")


def start(*arguments: str | Path, home: Path, **more: str) -> "subprocess.Popen[str]":
    clean = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(
        [PROGRAM, "bundle", *map(str, arguments)],
        env={**clean, "HOME": str(home), "XDG_DATA_HOME": str(home / "data"), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_until_done(begin: "Callable[[], subprocess.Popen[str]]", check: Callable[[], None]) -> int:
    """Run a command until it ends by itself; return how often it was killed before."""
    for kills in range(MOST_KILLS):
        process = begin()
        _, said = process.communicate(timeout=120)
        if process.returncode == 0:
            return kills
        assert process.returncode == -signal.SIGKILL, said
        check()
    raise AssertionError("it never ended by itself")


def test_an_upload_and_a_download_killed_at_any_request_are_finished_by_the_next(
    material: Material, tmp_path: Path
) -> None:
    lot = random.Random(7)
    back = tmp_path / "back"
    good = {path.name: path.read_bytes() for path in material.bundle.folder.iterdir()}
    running: list[subprocess.Popen[str]] = []
    with served_s3(tmp_path / "s3") as served:

        def start_to_kill(*arguments: str | Path) -> "subprocess.Popen[str]":
            deadly = len(served.app.asked) + lot.randint(2, 16)

            def kill(number: int) -> None:
                if number == deadly and running:
                    running[-1].kill()

            running.clear()
            served.app.when_asked = kill
            running.append(start(*arguments, *served.flags, home=tmp_path, **KEYS))
            return running[-1]

        def whole_or_not_there() -> None:
            names = {path.name for path in (tmp_path / "s3").rglob("*.json")}
            assert all(len(name) == 69 or name == "bucket.json" for name in names)

        def right_or_not_there() -> None:
            for path in back.glob("image*"):
                assert path.read_bytes() == good[path.name]
            if (back / "image.manifest.xml").exists():
                assert len(list(back.glob("image.part.*"))) == len(good) - 1

        upload = ("upload", material.bundle.manifest_path, PLACE)
        kills = run_until_done(lambda: start_to_kill(*upload), whole_or_not_there)
        download = ("download", PLACE, "-d", back)
        kills += run_until_done(lambda: start_to_kill(*download), right_or_not_there)
        assert kills
    assert {path.name: path.read_bytes() for path in back.iterdir() if path.is_file()} == good


def test_a_command_that_is_killed_with_its_own_endpoint_loses_nothing_acknowledged(
    material: Material, tmp_path: Path
) -> None:
    """The embedded S3 ends with the command: at any moment, in the middle of any write."""
    lot = random.Random(11)
    folder = tmp_path / "data" / "imgforge" / "catalog" / "s3"
    place = BundlePlace.parse(PLACE)
    there: set[str] = set()

    def parts() -> set[str]:
        with open_cloud(CloudWish(url="local"), folder=folder) as cloud:
            if cloud.storage.find_bucket(place.bucket) is None:
                return set()
            return {one.key for one in cloud.storage.list_objects(place.bucket, "")}

    for _ in range(6):
        process = start("upload", material.bundle.manifest_path, PLACE, home=tmp_path)
        try:
            process.communicate(timeout=lot.uniform(0.4, 2.5))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        now = parts()
        assert there <= now
        there = now
    process = start("upload", material.bundle.manifest_path, PLACE, "--json", home=tmp_path)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert f'"parts_kept": {len({key for key in there if ".part." in key})}' in out
    process = start("download", PLACE, "-d", tmp_path / "back", home=tmp_path)
    assert process.wait(timeout=120) == 0
    for path in material.bundle.folder.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
    assert not list((folder / "incoming").iterdir())


def test_two_uploads_at_once_to_the_embedded_endpoint_lose_none_of_each_others_writes(
    material: Material, tmp_path: Path
) -> None:
    manifest = material.bundle.manifest_path
    running = [start("upload", manifest, f"my-bucket/{n}", home=tmp_path) for n in (1, 2, 3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    with open_cloud(
        CloudWish(url="local"), folder=tmp_path / "data" / "imgforge" / "catalog" / "s3"
    ) as cloud:
        keys = [one.key for one in cloud.storage.list_objects("my-bucket", "")]
    assert len(keys) == 3 * 5


def test_an_interruption_ends_a_transfer_soon_and_leaves_nothing_half_made(
    material: Material, tmp_path: Path
) -> None:
    back = tmp_path / "back"
    with served_s3(tmp_path / "s3") as served:
        uploading = start(
            "upload", material.bundle.manifest_path, PLACE, *served.flags, home=tmp_path, **KEYS
        )
        assert uploading.wait(timeout=120) == 0
        served.app.asked.clear()
        held = threading.Event()

        def hold(number: int) -> None:
            if number == 3:  # parts are on their way
                running.send_signal(signal.SIGINT)
                held.wait(2)

        running = start("download", PLACE, "-d", back, *served.flags, home=tmp_path, **KEYS)
        served.app.when_asked = hold
        _, said = running.communicate(timeout=60)
        held.set()
    assert running.returncode == 130, said
    assert "Interrupted" in said
    for path in back.iterdir() if back.exists() else ():
        assert path.read_bytes() == (material.bundle.folder / path.name).read_bytes()
    assert not (back / "image.manifest.xml").exists()
