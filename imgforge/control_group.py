"""What the control groups of this process leave it: memory and processors (cgroups(7))."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROCESS = Path("/proc/self")
_NUMBER = re.compile(r"[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """The narrowest limits above this process; None where there is none.

    `memory_left_bytes` is the least that any of its groups may still take; `processors` is a
    quota of processor time, such as 1.5.
    """

    memory_bytes: int | None = None
    memory_left_bytes: int | None = None
    processors: float | None = None


@dataclass(frozen=True, slots=True)
class _Files:
    """The names of a memory controller's files."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: str


# docs.kernel.org/admin-guide/cgroup-v2.html; …/cgroup-v1/memory.html. What a group uses counts
# its page cache, which goes when memory is needed: the inactive half of it is left out.
_MEMORY_V2 = _Files(("memory.max", "memory.high"), "memory.current", "inactive_file")
_MEMORY_V1 = _Files(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")


def read_group_limits(process: Path = PROCESS) -> GroupLimits:
    """Read the limits of the groups of `process`, a folder of proc(5), in versions 1 and 2.

    What cannot be read sets no limit: a container may show neither its groups nor their files.
    """
    mounts = list(_mounts(_text(process / "mountinfo")))
    limits: list[int] = []
    left: list[int] = []
    processors: list[float] = []
    for controllers, path in _groups(_text(process / "cgroup")):
        for kind, root, mount in mounts:
            if kind != controllers and kind not in controllers.split(","):
                continue
            for folder in _upward(path, root=root, mount=mount):
                _add_memory(folder, _MEMORY_V1 if kind else _MEMORY_V2, limits=limits, left=left)
                processors += _quota(folder)
    return GroupLimits(
        memory_bytes=min(limits, default=None),
        memory_left_bytes=min(left, default=None),
        processors=min(processors, default=None),
    )


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """Give (controllers, path) of each line of /proc/PID/cgroup; version 2 names no controllers."""
    for line in text.splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3 and fields[2].startswith("/"):
            yield fields[1], fields[2]


def _mounts(text: str) -> Iterator[tuple[str, str, Path]]:
    """Give (controller, root, mount point) of mountinfo's groups; "" stands for version 2."""
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) < 10 or "-" not in fields[6:-3]:
            continue
        kind, _, options = fields[fields.index("-", 6) + 1 :][:3]
        root, mount = _unescape(fields[3]), Path(_unescape(fields[4]))
        if kind == "cgroup2":
            yield "", root, mount
        elif kind == "cgroup":
            for controller in {"memory", "cpu"} & set(options.split(",")):
                yield controller, root, mount


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _upward(path: str, *, root: str, mount: Path) -> Iterator[Path]:
    """Give the folder of a group and those above it that can be seen here.

    A container may see only its own group, mounted as if it were the root: then `path` is not
    below the mount, and its folders are not there.
    """
    inside = path.removeprefix(root) if root != "/" else path
    names = [name for name in inside.split("/") if name]
    if ".." in names:  # a group outside of this namespace's root
        names = []
    for depth in range(len(names), -1, -1):
        yield mount.joinpath(*names[:depth])


def _add_memory(folder: Path, files: _Files, *, limits: list[int], left: list[int]) -> None:
    for name in files.limits:
        limit = _number(_text(folder / name))
        if limit is None:
            continue
        limits.append(limit)
        used = _number(_text(folder / files.usage)) or 0
        given_back = _field(_text(folder / "memory.stat"), files.reclaimable)
        left.append(max(0, limit - max(0, used - given_back)))


def _quota(folder: Path) -> Iterator[float]:
    """Give the processors that a group's quota of time stands for, if it has one."""
    quotas: tuple[Callable[[], list[str]], ...] = (
        lambda: _text(folder / "cpu.max").split(),
        lambda: [_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")],
    )
    for read in quotas:
        match [_number(word) for word in read()]:
            case [int(quota), int(period)] if quota and period:
                yield quota / period


def _field(text: str, name: str) -> int:
    found = re.search(rf"^{name} ([0-9]{{1,20}})$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _number(text: str) -> int | None:
    """Return the number that a file holds, or None for "max", -1, nothing and garbage."""
    return int(text.strip()) if _NUMBER.fullmatch(text.strip()) else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
