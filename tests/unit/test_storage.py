"""Disks in layers, as QEMU is told of them."""

from pathlib import Path
from typing import Any

import pytest

from imgforge.errors import BadInputError
from imgforge.machine import DiskLayer, Drive, plain_storage
from imgforge.machine.storage import drive_node, virtual_bytes


def test_each_layer_names_the_one_below_and_only_the_top_is_written_to() -> None:
    drive = Drive(
        (
            DiskLayer(Path("/m/root.qcow2"), "qcow2"),
            DiskLayer(Path("/frozen/root.qcow2"), "qcow2"),
            DiskLayer(Path("/disks/a,b.raw"), "raw"),
        )
    )
    node: Any = drive_node(drive, "root")
    assert node["node-name"] == "root"
    names = []
    while node is not None:
        names.append((node["driver"], node["file"]["filename"], node.get("read-only", False)))
        node = node.get("backing")
    assert names == [
        ("qcow2", "/m/root.qcow2", False),
        ("qcow2", "/frozen/root.qcow2", True),
        ("raw", "/disks/a,b.raw", True),
    ]


def test_a_disk_of_one_file_has_nothing_below_it() -> None:
    node = drive_node(plain_storage(Path("/d.raw")).root, "root")
    assert "backing" not in node
    assert node["driver"] == "raw"


def test_a_qcow2_has_the_size_that_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "x.qcow2"
    path.write_bytes(b"QFI\xfb" + bytes(20) + (5 * 2**30).to_bytes(8, "big") + bytes(64))
    assert virtual_bytes(DiskLayer(path, "qcow2")) == 5 * 2**30
    assert virtual_bytes(DiskLayer(path, "raw")) == 96


@pytest.mark.parametrize("data", [b"", b"QFI\xfb", b"QFI\xfa" + bytes(100), bytes(31)])
def test_what_is_no_qcow2_has_no_size(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(BadInputError, match="no qcow2"):
        virtual_bytes(DiskLayer(tmp_path / "x", "qcow2"))
