"""One machine through its life: born, rebooted, stopped and started; each step is made once."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from imgforge.testing import ImageFailure
from imgforge.testing.machine import Machine

USER_DATA = "#!/bin/sh\nmkdir -p /var/lib/imgforge-suite\necho ran >>/var/lib/imgforge-suite/runs\n"
"""A script that leaves a line each time it is run."""
_USER_DATA_LIMIT_S = 30
_EPHEMERAL = re.compile(r"/dev/(?:vdb|xvdb|sdb)\d?|/dev/nvme1n1(?:p\d)?")
# An unclean root is mended by fsck in the initramfs, or by the kernel when it mounts it.
_MENDED = re.compile(
    r"recovering journal|recovery complete|orphan (?:cleanup|inodes? deleted)|Starting recovery"
    r"|was not cleanly unmounted|unclean|mounting unchecked fs|e2fsck is recommended",
    re.IGNORECASE,
)
_LOOK = """
echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"
echo "host_keys=$(for key in /etc/ssh/ssh_host_*_key /etc/dropbear/*_host_key; do
    [ ! -s "$key" ] || sha256sum <"$key"
done | tr -cd '0-9a-f\\n' | tr '\\n' ' ')"
echo "kept=$(cat /var/lib/imgforge-suite/kept 2>/dev/null)"
echo "runs=$(grep -c ran /var/lib/imgforge-suite/runs 2>/dev/null)"
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is compared between the boots of a machine, and between machines.

    `host_keys` are digests of the private ones; `machine_id` is "" without one; `runs` counts those
    of the user data; `kept` is what was written on the root file system at birth. `ephemeral` is
    where ephemeral0 is mounted, "" for nowhere, `ephemeral_kept` what was written there.
    `clock_off_s` is how far the clock is from the host's; `mended` are the lines on a root that
    was unclean.
    """

    boot_id: str
    machine_id: str
    host_keys: tuple[str, ...]
    kept: str
    runs: int
    owner: str
    ephemeral: str
    ephemeral_kept: str
    clock_off_s: float
    mended: tuple[str, ...]
    boot_seconds: float | None


class Life:
    """The machine of those tests that reboot, stop and start; made by the fixture `life`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._steps: dict[str, Facts | ImageFailure] = {}

    @property
    def born(self) -> Facts:
        """The facts of the first boot, with something written on its file systems."""
        return self._once("born", self._be_born)

    @property
    def rebooted(self) -> Facts:
        """The facts after a reboot. Raises ImageFailure where it did not come back."""
        return self._once("rebooted", self._reboot)

    @property
    def restarted(self) -> Facts:
        """The facts after a stop and start. Raises ImageFailure where it did not come back."""
        return self._once("restarted", self._stop_and_start)

    def _once(self, name: str, step: Callable[[], Facts]) -> Facts:
        if name not in self._steps:
            try:
                self._steps[name] = step()
            except ImageFailure as failure:
                self._steps[name] = failure
        made = self._steps[name]
        if isinstance(made, ImageFailure):
            raise ImageFailure(str(made))
        return made

    def _be_born(self) -> Facts:
        machine = self.machine
        with suppress(ImageFailure):  # the test of user data tells
            machine.wait_for_file("/var/lib/imgforge-suite/runs", timeout_s=_USER_DATA_LIMIT_S)
        machine.succeed("mkdir -p /var/lib/imgforge-suite")
        machine.succeed("echo before >/var/lib/imgforge-suite/kept")
        if point := find_ephemeral(machine):
            machine.succeed(f"echo before >{point}/imgforge-suite")
        machine.succeed("sync")
        return look(machine)

    def _reboot(self) -> Facts:
        self.born  # noqa: B018  (it comes first)
        self.machine.reboot()
        return look(self.machine)

    def _stop_and_start(self) -> Facts:
        self.rebooted  # noqa: B018  (it comes first)
        self.machine.stop()
        self.machine.start()
        return look(self.machine)


def look(machine: Machine) -> Facts:
    """Return the facts of a machine as it is now."""
    before_s = time.time()
    now_s = float(machine.succeed("date +%s"))
    after_s = time.time()
    off_s = max(before_s - 1 - now_s, now_s - after_s, 0.0)
    lines = machine.succeed(_LOOK).splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    point = find_ephemeral(machine)
    return Facts(
        boot_id=told["boot_id"],
        machine_id=told["machine_id"],
        host_keys=tuple(told["host_keys"].split()),
        kept=told["kept"],
        runs=int(told["runs"] or 0),
        owner=machine.ssh.run("id -un").stdout.strip(),
        ephemeral=point,
        ephemeral_kept=machine.run(f"cat {point}/imgforge-suite").stdout.strip() if point else "",
        clock_off_s=off_s,
        mended=find_mended(machine),
        boot_seconds=machine.boot_seconds,
    )


def find_ephemeral(machine: Machine) -> str:
    """Return where the first volume of the instance store is mounted, or ""."""
    for line in machine.succeed("cat /proc/mounts").splitlines():
        source, point = line.split()[:2]
        if is_ephemeral(source):
            return point
    return ""


def is_ephemeral(device: str) -> bool:
    """Tell whether a device is the first volume of the instance store, or a partition of it."""
    return _EPHEMERAL.fullmatch(device) is not None


def find_mended(machine: Machine) -> tuple[str, ...]:
    """Return the lines of this boot that tell of a file system that was not clean."""
    told = machine.succeed("dmesg; cat /run/initramfs/fsck.log 2>/dev/null; true")
    return tuple(line for line in told.splitlines() if _MENDED.search(line))
