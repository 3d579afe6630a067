"""The minimal guest's disks become bundles, go to S3, and come back the same, and boot."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge import host
from imgforge.files import locked_folder
from tests.boot.command_line import Room
from tests.boot.conftest import GUEST, folder_of_all_workers

pytestmark = pytest.mark.boot

RECIPE = GUEST / "recipes/minimal.toml"
LAYOUTS = ("hvm-mbr", "hvm-gpt", "pv", "pv-part")


@pytest.fixture
def own_room(tmp_path: Path) -> Iterator[Room]:
    """A room with the user's own cache."""
    with tempfile.TemporaryDirectory(prefix="imgforge-", dir="/tmp") as runtime:
        room = Room(folder=tmp_path, runtime=Path(runtime), cache=host.cache_dir())
        yield room
        room.assert_no_process_is_left()


@pytest.fixture
def disks(own_room: Room, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The guest's disk of each layout, built once for all workers."""
    shared = folder_of_all_workers(tmp_path_factory, "bundled-disks")
    layouts = [word for layout in LAYOUTS for word in ("--layout", layout)]
    out = shared / "out"  # not the folder itself: the build locks what it writes to
    with locked_folder(shared):  # what is there is left as it is
        ended = own_room.run("build", RECIPE, *layouts, "--out", out)
    assert ended.exit_code == 0, ended.stderr
    return {layout: out / f"minimal-{layout}.raw" for layout in LAYOUTS}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def go_round(room: Room, disk: Path) -> Path:
    """Bundle a disk, upload, download and extract it; return what came back."""
    folder = room.folder
    pair = ("--key", folder / "key.pem", "--cert", folder / "certificate.pem")
    bundle, back, name = folder / "bundle", folder / "back", disk.name
    place = "my-bucket/bundles/minimal"
    for words in (
        ("certificate", "create", *pair),
        ("bundle", "create", disk, *pair, "--account", "123456789012", "--out", bundle),
        ("bundle", "upload", bundle / f"{name}.manifest.xml", place, "--url", "local"),
        ("bundle", "download", place, "--out", back, "--url", "local"),
        ("bundle", "verify", back / f"{name}.manifest.xml", *pair),
        ("bundle", "extract", back / f"{name}.manifest.xml", *pair, "-o", folder / "back.raw"),
    ):
        ended = room.run(*words)
        assert ended.exit_code == 0, ended.stderr
    return folder / "back.raw"


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(layout, marks=() if layout == "pv-part" else pytest.mark.slow)
        for layout in LAYOUTS
    ],
)
def test_what_comes_back_is_the_disk_and_boots(
    own_room: Room, disks: dict[str, Path], layout: str
) -> None:
    back = go_round(own_room, disks[layout])
    assert sha256(back) == sha256(disks[layout])
    assert back.stat().st_blocks <= disks[layout].stat().st_blocks
    words = ("test", back, "--recipe", RECIPE, "--suite", "none", "--json")
    ended = own_room.run(*words, "--out", own_room.out)
    assert ended.exit_code == 0, ended.stderr


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "pv-part"])
def test_a_disk_of_each_layout_comes_back(
    own_room: Room, disks: dict[str, Path], layout: str
) -> None:
    assert sha256(go_round(own_room, disks[layout])) == sha256(disks[layout])
