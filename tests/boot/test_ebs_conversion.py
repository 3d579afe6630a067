"""An instance-store bundle of the minimal guest becomes an EBS image that boots and is launched."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from imgforge.command import run
from imgforge.disk import disk_sha256
from tests.boot.command_line import Room
from tests.boot.conftest import Workshop

pytestmark = pytest.mark.boot

AKI = "aki-5c21674b"
LOST = (
    "/dev/sdb /media/ephemeral0 auto defaults,comment=cloudconfig 0 2\n"
    "LABEL=UEFI /boot/efi vfat defaults 0 0\n"
)


def instance_store_disk(source: Path, folder: Path, *, start: int) -> Path:
    """Copy a disk, and give its fstab what an instance-store image of EC2 has there."""
    disk = folder / "image"
    run("cp", ["--sparse=always", source, disk])
    where = f"{disk}?offset={start}"
    kept = run("debugfs", ["-R", "cat /etc/fstab", where]).stdout.decode()
    (folder / "fstab").write_text(kept + LOST)
    commands = folder / "commands"
    commands.write_text(f"rm /etc/fstab\ncd /etc\nwrite {folder}/fstab fstab\n")
    run("debugfs", ["-w", "-f", commands, where])
    return disk


def bundle(room: Room, disk: Path) -> tuple[Path, Path]:
    key, certificate = room.folder / "key.pem", room.folder / "certificate.pem"
    room_ran(room, "certificate", "create", "--key", key, "--cert", certificate)
    pair = ("--key", key, "--cert", certificate, "--account", "123456789012")
    machine = ("-B", "ami=sda1,ephemeral0=sdb,root=/dev/sda1", "--kernel", AKI)
    room_ran(room, "bundle", "create", disk, *pair, *machine, "--out", room.folder / "bundle")
    return room.folder / "bundle" / "image.manifest.xml", key


def room_ran(room: Room, *words: str | Path) -> str:
    ended = room.run(*words)
    assert ended.exit_code == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("layout", ["hvm-mbr", "pv"])
def test_a_converted_bundle_boots_as_its_source_does(
    layout: str, workshop: Workshop, room: Room
) -> None:
    source = workshop.disk if layout == "pv" else workshop.partitioned_disk
    start = 0 if layout == "pv" else 2048 * 512
    room.folder.mkdir(exist_ok=True)
    disk = instance_store_disk(source, room.folder, start=start)
    manifest, key = bundle(room, disk)
    shutil.move(disk, room.folder / "original")
    made = manifest.parent / "image.ebs"
    words: tuple[str | Path, ...] = ("convert", manifest, "--to", "ebs", "--key", key, "--json")
    words = (*words, "--name", f"{layout} from s3", "--recipe", workshop.recipe)
    if layout == "pv":
        with room.start(*words) as running:
            assert running.saw("boot: init")
            running.process.send_signal(signal.SIGKILL)
            running.process.wait(30)
        room.assert_no_process_is_left()
        assert json.loads(room_ran(room, "images", "--json")) == []
        result = json.loads(room_ran(room, *words))
        done = [step["name"] for step in result["steps"] if step["state"] == "done"]
        assert done == ["test", "snapshot", "register"]
        assert result["chain"]["source_verdict"] is None
    else:
        result = json.loads(room_ran(room, *words, "--test-source"))
        assert result["chain"]["source_verdict"]["accepted"]
    check_chain(result["chain"], made=made, original=room.folder / "original")
    image = json.loads(room_ran(room, "images", result["image_id"], "--json"))
    check_image(image, layout=layout, chain=result["chain"])
    asked = words if layout == "pv" else (*words, "--test-source")
    again = json.loads(room_ran(room, *asked))
    assert {step["state"] for step in again["steps"]} == {"stands"}
    assert again["image_id"] == result["image_id"]
    with room.start("launch", result["image_id"]) as running:
        assert running.printed("ssh "), running.stderr
        running.interrupt(signal.SIGINT)


def check_chain(chain: dict[str, Any], *, made: Path, original: Path) -> None:
    """Check that each digest in the chain is that of what it stands for, and the verdict's."""
    assert chain["disk"]["sha256"] == disk_sha256(original)
    assert chain["volume"]["sha256"] == disk_sha256(made / "volume.raw")
    assert chain["volume"]["size_bytes"] == 2**30
    [change] = chain["changes"]
    assert [line for line in change["diff"].splitlines() if line[:1] == "-"][1:] == [
        f"-{line}" for line in LOST.splitlines()
    ]
    assert chain["verdict"]["accepted"]
    verdict = json.loads((made / chain["verdict"]["verdict"]).read_bytes())
    assert verdict["disk"]["sha256_after"] == chain["volume"]["sha256"]
    [note] = [note for note in verdict["notes"] if note.startswith("Converted")]
    manifest = chain["bundle"]["manifest_sha256"]
    order = [manifest, chain["disk"]["sha256"], chain["volume"]["sha256"]]
    places = [note.index(digest) for digest in order]
    assert places == sorted(places)
    assert note[:60] in (made / "volume.test/report.html").read_text(encoding="utf-8")


def check_image(image: dict[str, Any], *, layout: str, chain: dict[str, Any]) -> None:
    """Check that the image is what the original was."""
    pv = layout == "pv"
    assert image["VirtualizationType"] == ("paravirtual" if pv else "hvm")
    assert image.get("KernelId") == (AKI if pv else None)
    assert image["Architecture"] == "x86_64"
    assert image["RootDeviceType"] == "ebs"
    [device] = image["BlockDeviceMappings"]
    assert device["DeviceName"] == image["RootDeviceName"]
    assert device["Ebs"]["SnapshotId"] == chain["image"]["snapshot_id"]
    assert device["Ebs"]["VolumeSize"] == 1
