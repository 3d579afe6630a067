"""Its file systems are as large as its volumes, and where they were promised."""

import pytest

from imgforge.testing.machine import Machine
from imgforge.testing.suite.life import Life, is_ephemeral

_GIB = 2**30
_SECTOR_BYTES = 512
# What the file system's own tables, the partition table and GRUB may take.
_FILE_SYSTEM_PART = 0.85
_PARTITION_SPARE_BYTES = 16 * 2**20
_ROOT_SECTORS = """
while read -r _ _ numbers _ point _; do
    [ "$point" != / ] || cat "/sys/dev/block/$numbers/size"
done </proc/self/mountinfo
"""


def test_root_partition_fills_its_volume(life: Life) -> None:
    volume = _volume_bytes(life)
    size = int(life.machine.succeed(_ROOT_SECTORS).split()[-1]) * _SECTOR_BYTES
    told = f"the root's partition has {size / _GIB:.2f} GiB, its volume {volume / _GIB:.2f} GiB"
    assert size >= volume - _PARTITION_SPARE_BYTES, told


def test_root_file_system_fills_its_volume(life: Life) -> None:
    volume = _volume_bytes(life)
    (line,) = life.machine.succeed("df -P -k / | tail -n 1").splitlines()
    size = int(line.split()[1]) * 1024
    told = f"the root file system has {size / _GIB:.2f} GiB, its volume {volume / _GIB:.2f} GiB"
    assert size >= volume * _FILE_SYSTEM_PART, told


def test_ephemeral0_is_mounted_where_promised(life: Life) -> None:
    point = require_ephemeral(life.machine)
    mounted = life.born.ephemeral
    assert mounted, "ephemeral0 is mounted nowhere"
    assert point in {"", mounted}, f"ephemeral0 is mounted at {mounted}, fstab says {point}"


def require_ephemeral(machine: Machine) -> str:
    """Return where fstab promises ephemeral0, or "" where only the recipe does.

    The test is skipped where nobody does.
    """
    for line in machine.run("cat /etc/fstab").stdout.splitlines():
        words = line.split()
        if len(words) > 1 and is_ephemeral(words[0]):
            return words[1]
    recipe = machine.plan.image.disk.recipe
    devices = recipe.image.block_devices if recipe else ()
    if not any(device.virtual_name == "ephemeral0" for device in devices):
        pytest.skip("neither the recipe's image.block_devices nor fstab names ephemeral0")
    return ""


def _volume_bytes(life: Life) -> int:
    gib = life.machine.plan.root_gib
    assert gib is not None
    return gib * _GIB
