"""What control groups leave a process, from files as the kernel writes them."""

from pathlib import Path

import pytest

from imgforge import host
from imgforge.control_group import GroupLimits, read_group_limits

GIB = 2**30


class Kernel:
    """A folder with files as in /proc/self, and the groups they point to."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "self"
        self.groups = folder / "groups"
        self.process.mkdir()
        self.groups.mkdir()

    def say(self, *, groups: str, mounts: str) -> None:
        (self.process / "cgroup").write_text(groups)
        (self.process / "mountinfo").write_text(mounts.format(groups=self.groups))

    def set(self, group: str, **values: str) -> None:
        folder = self.groups / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in values.items():
            (folder / name.replace("__", ".")).write_text(text + "\n")

    def limits(self) -> GroupLimits:
        return read_group_limits(self.process)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


V2 = "30 1 0:26 / {groups} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "33 31 0:30 / {groups}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:33 / {groups}/memory rw,relatime shared:3 master:1 - cgroup cgroup rw,memory\n"
)


def test_version_2_sets_the_narrowest_limit_of_a_group_and_those_above(kernel: Kernel) -> None:
    kernel.say(groups="0::/user.slice/run.scope\n", mounts=V2)
    kernel.set(
        "user.slice", memory__max=f"{4 * GIB}", memory__current="0", cpu__max="150000 100000"
    )
    kernel.set("user.slice/run.scope", memory__max="max", cpu__max="max 100000")
    assert kernel.limits() == GroupLimits(4 * GIB, 4 * GIB, 1.5)


def test_what_a_group_uses_is_not_left_but_its_page_cache_is(kernel: Kernel) -> None:
    kernel.say(groups="0::/job\n", mounts=V2)
    stat = f"anon 1\ninactive_file {GIB}\nactive_file 5"
    kernel.set("job", memory__max=f"{4 * GIB}", memory__current=f"{3 * GIB}", memory__stat=stat)
    assert kernel.limits().memory_left_bytes == 2 * GIB


def test_a_throttled_group_is_as_good_as_limited(kernel: Kernel) -> None:
    kernel.say(groups="0::/job\n", mounts=V2)
    kernel.set("job", memory__max=f"{4 * GIB}", memory__high=f"{3 * GIB}", memory__current="0")
    assert kernel.limits().memory_bytes == 3 * GIB


def test_version_1_counts_memory_and_quota(kernel: Kernel) -> None:
    kernel.say(groups="4:memory:/job\n1:cpu,cpuacct:/job\n0::/\n", mounts=V1)
    kernel.set("memory/job", memory__limit_in_bytes=f"{GIB}", memory__usage_in_bytes="4096")
    kernel.set("cpu/job", cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")
    assert kernel.limits() == GroupLimits(GIB, GIB - 4096, 2.5)


def test_version_1_without_limits_sets_one_beyond_any_memory(kernel: Kernel) -> None:
    kernel.say(groups="4:memory:/\n1:cpu:/\n", mounts=V1)
    kernel.set("memory", memory__limit_in_bytes="9223372036854771712")
    kernel.set("cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    limits = kernel.limits()
    assert limits.processors is None
    assert limits.memory_bytes is not None
    assert limits.memory_bytes > 2**60


def test_a_container_that_sees_its_own_group_as_the_root_is_limited_by_it(kernel: Kernel) -> None:
    kernel.say(groups="4:memory:/docker/4f2a\n", mounts=V1)
    kernel.set("memory", memory__limit_in_bytes=f"{GIB}")
    assert kernel.limits().memory_bytes == GIB


def test_a_group_below_the_root_of_its_mount_is_found(kernel: Kernel) -> None:
    mounts = "30 1 0:26 /docker/4f2a {groups} rw - cgroup2 cgroup2 rw\n"
    kernel.say(groups="0::/docker/4f2a/inner\n", mounts=mounts)
    kernel.set("inner", memory__max=f"{GIB}")
    assert kernel.limits().memory_bytes == GIB


def test_a_mount_point_with_a_blank_is_found(kernel: Kernel) -> None:
    kernel.say(groups="0::/\n", mounts=V2.replace("{groups}", "{groups}/a\\040b"))
    kernel.set("a b", memory__max=f"{GIB}")
    assert kernel.limits().memory_bytes == GIB


@pytest.mark.parametrize(
    ("groups", "mounts"),
    [
        ("", ""),
        ("0::/job", V2[:20]),
        ("\0\xff:::\n0:", "- - - - - - - - - - cgroup2\n"),
        ("0::/../../etc\n", V2),
        ("0::relative\n4:memory\n", V1),
        ("0::/job\n" * 3, "1 2 3 4 5 6 7 8 9 - cgroup2\n"),
    ],
)
def test_files_that_are_garbage_set_no_limit(kernel: Kernel, groups: str, mounts: str) -> None:
    kernel.say(groups=groups, mounts=mounts)
    assert kernel.limits() == GroupLimits()


@pytest.mark.parametrize("text", ["", "max", "-1", "1e9", "0x10", "9" * 40, "12 34", "\0"])
def test_a_limit_that_is_no_number_is_none(kernel: Kernel, text: str) -> None:
    kernel.say(groups="0::/job\n", mounts=V2)
    kernel.set("job", memory__max=text, cpu__max=text)
    assert kernel.limits().memory_bytes is None


@pytest.mark.parametrize("text", ["", "100000", "0 100000", "100000 0", "a b", "1 2 3"])
def test_a_quota_that_is_none_is_ignored(kernel: Kernel, text: str) -> None:
    kernel.say(groups="0::/job\n", mounts=V2)
    kernel.set("job", cpu__max=text)
    assert kernel.limits().processors is None


def test_nothing_to_read_sets_no_limit(tmp_path: Path) -> None:
    assert read_group_limits(tmp_path) == GroupLimits()


def test_the_host_counts_its_groups(kernel: Kernel, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(
        "MemTotal:       8388608 kB\nMemAvailable:   4194304 kB\nHugePages_Free: 0\n"
    )
    kernel.say(groups="0::/job\n", mounts=V2)
    kernel.set("job", memory__max=f"{2 * GIB}", memory__current=f"{GIB}", cpu__max="50000 100000")
    memory = host.memory(meminfo=meminfo, process=kernel.process)
    assert (memory.total_bytes, memory.available_bytes) == (2 * GIB, GIB)
    assert host.cpu_count(process=kernel.process) == 1
    free = host.memory(meminfo=meminfo, process=tmp_path)
    assert (free.total_bytes, free.available_bytes) == (8 * GIB, 4 * GIB)
