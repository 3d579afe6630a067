"""A volume that was bundled and extracted again boots, on another partition table, too."""

from pathlib import Path

import pytest

from tests.boot.command_line import Room
from tests.boot.conftest import Workshop

pytestmark = pytest.mark.boot


@pytest.mark.parametrize(
    ("source", "partition"),
    [
        ("recipe", "mbr"),
        ("partitioned disk", "none"),
        pytest.param("disk", "gpt", marks=pytest.mark.slow),
    ],
)
def test_a_bundled_volume_boots_as_its_source_does(
    room: Room, workshop: Workshop, source: str, partition: str
) -> None:
    paths = {
        "recipe": workshop.recipe,
        "disk": workshop.disk,
        "partitioned disk": workshop.partitioned_disk,
    }
    folder = room.folder
    keys = ("-k", folder / "key.pem", "-c", folder / "cert.pem")
    made = room.run("certificate", "create", "--key", keys[1], "--cert", keys[3])
    assert made.exit_code == 0, made.stderr
    words = ("bundle", "volume", paths[source], *keys, "-u", "123456789012")
    made = room.run(*words, "--partition", partition, "-d", folder / "bundle", "--json")
    assert made.exit_code == 0, made.stderr
    manifest = Path(made.result["manifest"])
    disk = folder / "back.raw"
    back = room.run("bundle", "extract", manifest, "-k", keys[1], "-o", disk)
    assert back.exit_code == 0, back.stderr
    tested = room.run(
        "test", disk, "--suite", "none", "--recipe", workshop.recipe, "--out", room.out, "--json"
    )
    assert tested.exit_code == 0, tested.stderr
