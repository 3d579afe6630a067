"""A volume that was bundled and extracted again boots, on another partition table, too."""

import re
from pathlib import Path

import pytest

from imgforge import host
from tests.boot.command_line import Room
from tests.boot.conftest import GUEST, LOCK_ENDS, Workshop
from tests.volume_material import see_disk

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


@pytest.mark.slow
def test_a_disk_of_xfs_boots_when_it_was_bundled(room: Room, workshop: Workshop) -> None:
    """Built as xfs, read without mounting, made again on GPT, started by GRUB Legacy."""
    changes = {
        '"crc32c_generic", "ext4"': '"crc32c_generic", "ext4", "xfs"',
        'filesystem = "ext4"': 'filesystem = "xfs"',
    }
    recipe = workshop.write_recipe(room.folder, changes=changes)
    built = room.run("build", recipe, "--layout", "hvm-mbr", "--out", room.folder / "built")
    assert built.exit_code == 0, built.stderr
    [disk] = (room.folder / "built").glob("*.raw")
    keys = ("-k", room.folder / "key.pem", "-c", room.folder / "cert.pem")
    made = room.run("certificate", "create", "--key", keys[1], "--cert", keys[3])
    assert made.exit_code == 0, made.stderr
    words = ("bundle", "volume", disk, *keys, "-u", "123456789012", "--partition", "gpt")
    made = room.run(*words, "-d", room.folder / "bundle", "--json")
    assert made.exit_code == 0, made.stderr
    assert (made.result["filesystem"], made.result["label"]) == ("xfs", "root")
    back = room.folder / "back.raw"
    out = room.run("bundle", "extract", made.result["manifest"], "-k", keys[1], "-o", back)
    assert out.exit_code == 0, out.stderr
    assert see_disk(back).keys() >= see_disk(disk).keys() - {"boot/grub/stage1_5"}
    tested = room.run(
        "test", back, "--suite", "none", "--recipe", recipe, "--out", room.out, "--json"
    )
    assert tested.exit_code == 0, tested.stderr


@pytest.mark.parametrize(("partition", "kernel"), [("mbr", "-cloud-amd64"), ("none", "-amd64")])
def test_a_recipes_image_has_the_kernel_of_its_virtualization_type(
    tmp_path: Path, partition: str, kernel: str
) -> None:
    recipe = GUEST / "recipes/minimal.toml"
    locks = [recipe.with_name(f"minimal.toml{end}") for end in LOCK_ENDS]
    before = [lock.read_bytes() for lock in locks]
    room = Room(folder=tmp_path, runtime=tmp_path, cache=host.cache_dir())
    keys = ("-k", tmp_path / "key.pem", "-c", tmp_path / "cert.pem")
    made = room.run("certificate", "create", "--key", keys[1], "--cert", keys[3])
    assert made.exit_code == 0, made.stderr
    words = ("bundle", "volume", recipe, *keys, "-u", "123456789012", "--no-inherit")
    made = room.run(*words, "--partition", partition, "-d", tmp_path / "bundle", "--json")
    assert made.exit_code == 0, made.stderr
    assert "asks for something else than its lock" not in made.stderr
    assert [lock.read_bytes() for lock in locks] == before
    disk = tmp_path / "back.raw"
    back = room.run("bundle", "extract", made.result["manifest"], "-k", keys[1], "-o", disk)
    assert back.exit_code == 0, back.stderr
    kernels = [path for path in see_disk(disk) if path.startswith("boot/vmlinuz-")]
    assert len(kernels) == 1
    assert re.search(rf"[0-9]{kernel}\Z", kernels[0])
