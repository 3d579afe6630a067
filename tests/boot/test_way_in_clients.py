"""Each DHCP client that images use takes what QEMU hands out, and then reaches the metadata.

udhcpc is the other tests' client. These are Debian's, from packages that are only unpacked: what
runs around them (users, folders, udev) is laid out by the init below.
"""

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imgforge import host
from imgforge.disk import open_disk
from imgforge.files import locked_folder
from imgforge.machine import BootSource, ConsoleLine, MachineSpec, MetadataWay, start_machine
from imgforge.machine.way import probe_namespace
from imgforge.metadata import Instance
from imgforge.start import find_start
from tests.boot.command_line import Room
from tests.boot.conftest import TCG, folder_of_all_workers

pytestmark = [pytest.mark.boot, pytest.mark.slow]

_LIMIT_S = 300.0
_INSTANCE = Instance("i-0123456789abcdef0", "ami-0123456789abcdef0")
_RECIPE = """
name = "clients"
description = "DHCP clients of Debian"

[rootfs]
overlays = ["overlay"]

[rootfs.source]
kind = "packages"
suite = "bookworm"
variant = "extract"
include = [
    "busybox-static", "dash", "dhcpcd-base", "iproute2", "isc-dhcp-client",
    "linux-image-cloud-amd64", "systemd", "udev",
]
exclude_paths = [
    "/usr/share/*", "/var/*", "/usr/lib/x86_64-linux-gnu/perl*",
    "/usr/lib/x86_64-linux-gnu/gconv/*",
]

[disk]
layouts = ["pv"]
filesystem = "ext4"
label = "root"
size = "512 MiB"

[[boot.entries]]
title = "clients"
kernel = "/boot/vmlinuz-*"
command_line = "root=/dev/nvme0n1 rw quiet panic=-1 net.ifnames=0 init=/usr/sbin/clients-init"

[expect]
login_user = "root"

[image]
name = "imgforge-clients-{layout}"
"""
# Packages that are only unpacked have no users, no machine id (networkd's DUID is made from it) and
# no index of the kernel's modules: here these are in the order in which they need each other.
_INIT = r"""#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/applets
/bin/busybox mkdir -p /applets
/bin/busybox --install -s /applets
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t devtmpfs dev /dev; mount -t tmpfs run /run
exec </dev/console >/dev/console 2>&1
mkdir -p /run/systemd/netif /var/lib/dhcp /var/lib/dhcpcd
cat >/etc/passwd <<'.'
root:x:0:0::/root:/bin/sh
systemd-network:x:101:101::/:/bin/sh
dhcpcd:x:102:102::/var/lib/dhcpcd:/bin/sh
.
cat >/etc/group <<'.'
root:x:0:
systemd-network:x:101:
dhcpcd:x:102:
.
touch /etc/fstab  # dhclient-script reads it, and declines the lease where it cannot
echo 0123456789abcdef0123456789abcdef >/etc/machine-id
chown -R 101:101 /run/systemd/netif
for name in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci \
    failover net_failover virtio_net; do
    insmod $(find /lib/modules/ -name $name.ko)
done
ip link set lo up
client=$(sed -n 's/.*client=\([a-z]*\).*/\1/p' /proc/cmdline)
case $client in
    dhclient) dhclient -1 -v eth0 ;;
    dhcpcd) dhcpcd -4 -d -w -t 60 eth0 ;;
    networkd)
        mkdir -p /etc/systemd/network
        printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >/etc/systemd/network/eth0.network
        /lib/systemd/systemd-udevd --daemon
        udevadm trigger --action=add --subsystem-match=net; udevadm settle -t 30
        /lib/systemd/systemd-networkd &
        /lib/systemd/systemd-networkd-wait-online -i eth0 --timeout=60 ;;
esac
ip -4 -o addr show dev eth0
ip route
ip route | grep -q 'default via 172.31.0.1 ' && echo "has a router" || echo "has no router"
ask() { wget -q -U $client -O - http://169.254.169.254/latest/meta-data/$1; }
echo "told $(ask instance-id)"
ip route replace 169.254.0.0/16 dev eth0
echo "zeroconf $(ask ami-id)"
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """The disk with all clients on it, and how PV-GRUB starts it."""

    disk: Path
    source: BootSource

    def spec(self, folder: Path, client: str) -> MachineSpec:
        """Describe a machine that brings up its network with this client, asks and ends."""
        words = f"{self.source.command_line} client={client}"
        return MachineSpec(
            disk=self.disk,
            accelerator=TCG,
            instance=_INSTANCE,
            folder=folder,
            source=replace(self.source, command_line=words),
        )


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    shared = folder_of_all_workers(tmp_path_factory, "clients")
    disk = shared / "out" / "clients-pv.raw"
    with locked_folder(shared):
        if not disk.exists():
            # Not in `shared` itself: the build locks its recipe's folder, too.
            _build(shared / "recipe", disk.parent)
    found = find_start(open_disk(disk), tmp_path_factory.mktemp("kernel"))
    assert found.failure is None, found.failure
    return Guest(disk, found.source)


def _build(folder: Path, out: Path) -> None:
    init = folder / "overlay/usr/sbin/clients-init"
    init.parent.mkdir(parents=True, exist_ok=True)
    init.write_text(_INIT, encoding="utf-8")
    init.chmod(0o755)
    recipe = folder / "clients.toml"
    recipe.write_text(_RECIPE, encoding="utf-8")
    room = Room(folder=folder, runtime=folder, cache=host.cache_dir())
    ended = room.run("build", recipe, "--layout", "pv", "--out", out)
    assert ended.exit_code == 0, ended.stderr


@pytest.mark.parametrize("way", MetadataWay)
@pytest.mark.parametrize("client", ["dhclient", "dhcpcd", "networkd"])
def test_a_client_takes_the_lease_and_reaches_the_metadata(
    guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, client: str, way: MetadataWay
) -> None:
    if way is MetadataWay.NAMESPACE and (refused := probe_namespace()):
        pytest.skip(f"no network namespace on this host: {refused}")
    monkeypatch.setenv("IMGFORGE_METADATA_WAY", way)
    spec = guest.spec(tmp_path / "out", client)
    shown = asyncio.run(asyncio.wait_for(_boot(spec), _LIMIT_S))
    for line in _awaited(way):
        assert line in shown, "\n".join(shown)
    text = (spec.folder / "metadata.jsonl").read_text(encoding="utf-8")
    asked = [json.loads(line) for line in text.splitlines()]
    assert [request["user_agent"] for request in asked] == [client, client]
    assert {request["guest_address"] for request in asked} == {"172.31.16.15"}


def _awaited(way: MetadataWay) -> list[str]:
    return [
        "has a router" if way is MetadataWay.NAMESPACE else "has no router",
        f"told {_INSTANCE.instance_id}",
        f"zeroconf {_INSTANCE.image_id}",
    ]


async def _boot(spec: MachineSpec) -> list[str]:
    spec.folder.mkdir()
    async with start_machine(spec) as machine:
        return [e.text async for e in machine.events() if isinstance(e, ConsoleLine)]
