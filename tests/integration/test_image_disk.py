"""What --image names: a disk that is damaged is bad input, not a failure of the host."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.testing.image import ImageWish, find_image


@pytest.fixture
def qcow2(tmp_path: Path) -> Path:
    raw, path = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(bytes(range(256)) * 4096)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, path], check=True)
    return path


def refused(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        find_image(ImageWish(str(path), out=path.parent), until=ExitStack())
    return str(caught.value)


def test_a_whole_qcow2_is_taken(qcow2: Path, tmp_path: Path) -> None:
    found = find_image(ImageWish(str(qcow2), out=tmp_path), until=ExitStack())
    assert (found.format, found.disk.size_bytes) == ("qcow2", 2**20)


@pytest.mark.parametrize("part", [0.0001, 0.1, 0.5, 0.9])
def test_a_qcow2_that_was_cut_short_is_bad_input(qcow2: Path, part: float) -> None:
    with qcow2.open("r+b") as file:
        file.truncate(max(5, round(qcow2.stat().st_size * part)))
    assert refused(qcow2).startswith(f"Image {qcow2}: is cut short or damaged: ")


def test_a_qcow2_of_garbage_is_bad_input(qcow2: Path) -> None:
    data = qcow2.read_bytes()
    qcow2.write_bytes(data[:4] + b"\xff" * 200 + data[204:])
    assert "is cut short or damaged" in refused(qcow2)


def test_a_qcow2_that_needs_another_file_is_bad_input(qcow2: Path, tmp_path: Path) -> None:
    layer = tmp_path / "layer.qcow2"
    made: list[str | Path] = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        qcow2,
        "-F",
        "qcow2",
        layer,
    ]
    subprocess.run(made, check=True)
    assert "it needs another file" in refused(layer)
