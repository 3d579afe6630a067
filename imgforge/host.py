"""The machine and the user we run as: the only place that reads the environment."""

import hashlib
import os
import platform
import pwd
import re
import shutil
import tempfile
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imgforge.control_group import PROCESS, read_group_limits

_PASSED_ON = (
    "HOME",
    "LOGNAME",
    "USER",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
# What decides where our own files are, and what Python can import.
_OWN = (
    "IMGFORGE_CACHE",
    "IMGFORGE_FROZEN_LIMIT",
    "IMGFORGE_METADATA_WAY",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
)
# https://docs.aws.amazon.com/boto3/latest/guide/configuration.html
_AWS_VARIABLES = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_EC2",
    "AWS_ENDPOINT_URL_EBS",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_AWS_FILES = (
    ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ("AWS_CONFIG_FILE", ".aws/config"),
)
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


def search_path() -> str:
    """Return PATH with the system folders at its end: Debian users have no /usr/sbin in theirs."""
    own = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return os.pathsep.join([*own, *(folder for folder in _SYSTEM_PATH if folder not in own)])


def child_environment() -> dict[str, str]:
    """Return what a program we start may know: nothing that could change the bytes it writes."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, "PATH": search_path(), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def own_environment() -> dict[str, str]:
    """Return what another process of ours must know beside `child_environment`."""
    return {name: os.environ[name] for name in _OWN if name in os.environ}


def home_dir() -> Path:
    """Return the user's home, from HOME or, without it, from the password database."""
    return Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)


def _xdg_dir(variable: str, default: str) -> Path:
    # The specification ignores values that are not absolute.
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else home_dir() / default


def cache_dir() -> Path:
    """Return the folder of what can be made again (IMGFORGE_CACHE, else the XDG cache home)."""
    own = os.environ.get("IMGFORGE_CACHE", "")
    return Path(own).absolute() if own else _xdg_dir("XDG_CACHE_HOME", ".cache") / "imgforge"


def data_dir() -> Path:
    """Return the folder of what must not be lost: the catalog (the XDG data home)."""
    return _xdg_dir("XDG_DATA_HOME", ".local/share") / "imgforge"


def configured_aws() -> str:
    """Return what says that AWS, or an endpoint in its place, is meant: a variable or a file.

    "" where nothing does. These are boto3's own, but for the metadata service, which is no
    configuration, and for a region, which says where and not what.
    """
    for name in _AWS_VARIABLES:
        if os.environ.get(name):
            return name
    for name, default in _AWS_FILES:
        path = Path(os.environ.get(name) or home_dir() / default).expanduser()
        if path.is_file() and path.stat().st_size:
            return str(path)
    return ""


def aws_region() -> str:
    """Return the region of the environment (AWS_REGION, AWS_DEFAULT_REGION), or ""."""
    return os.environ.get("AWS_REGION", "") or os.environ.get("AWS_DEFAULT_REGION", "")


def catalog_dir() -> Path:
    """Return the folder of the local catalog."""
    return data_dir() / "catalog"


def s3_dir(catalog: Path | None = None) -> Path:
    """Return the folder of imgforge's own S3, which is in a catalog's: else in the user's."""
    return (catalog or catalog_dir()) / "s3"


def runtime_parent() -> Path:
    """Return where short-lived sockets may stand; short, since a socket path has 108 bytes."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and len(str(runtime)) < 40 and os.access(runtime, os.W_OK):
        return runtime
    return Path(tempfile.gettempdir()) if len(tempfile.gettempdir()) < 40 else Path("/tmp")  # noqa: S108 (short)


def step_summary() -> Path | None:
    """Return the file of a GitHub step's summary (GITHUB_STEP_SUMMARY); None outside of one."""
    value = os.environ.get("GITHUB_STEP_SUMMARY", "")
    return Path(value) if value.startswith("/") else None


def wants_color() -> bool:
    """Tell whether NO_COLOR (no-color.org) leaves colours allowed."""
    return not os.environ.get("NO_COLOR")


def frozen_limit() -> str:
    """Return how much frozen machines may take (IMGFORGE_FROZEN_LIMIT, such as "8G"), or ""."""
    return os.environ.get("IMGFORGE_FROZEN_LIMIT", "")


def metadata_way() -> str:
    """Return the way to the metadata service that is asked for (IMGFORGE_METADATA_WAY), or ""."""
    return os.environ.get("IMGFORGE_METADATA_WAY", "")


def metadata_endpoint() -> str | None:
    """Return where this machine's metadata service is, by AWS SDKs' variables; None: do not ask.

    By AWS_EC2_METADATA_SERVICE_ENDPOINT and AWS_EC2_METADATA_DISABLED, as AWS's SDKs.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    own = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "")
    return own or "http://169.254.169.254"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory this process may have: this machine's, or less where its control group limits it."""

    total_bytes: int
    available_bytes: int


def memory(*, meminfo: Path = Path("/proc/meminfo"), process: Path = PROCESS) -> Memory:
    """Read this machine's memory (proc(5)) and the limits of this process's control groups."""
    fields = {}
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024
    limits = read_group_limits(process)
    total = [fields["MemTotal"], limits.memory_bytes]
    available = [fields["MemAvailable"], limits.memory_left_bytes]
    return Memory(
        total_bytes=min(count for count in total if count is not None),
        available_bytes=min(count for count in available if count is not None),
    )


def memory_of_children(processes: Collection[int]) -> dict[int, int]:
    """Return the bytes of memory that the programs below each of `processes` take by themselves.

    Files they have mapped do not count: those pages can be given back (proc(5): RssAnon,
    RssShmem). A program below two of them counts for the nearer one.
    """
    parents: dict[int, int] = {}
    taken: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended
            continue
        values = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        parents[int(folder.name)] = int(values.get("PPid", "0"))
        kib = (values.get(name, "0 kB").split()[0] for name in ("RssAnon", "RssShmem"))
        taken[int(folder.name)] = sum(map(int, kib)) * 1024
    sums = dict.fromkeys(processes, 0)
    for process, size_bytes in taken.items():
        above = parents[process]
        while above and above not in sums:
            above = parents.get(above, 0)
        if above:
            sums[above] += size_bytes
    return sums


def waited_s(process: int, *, proc: Path = Path("/proc")) -> float:
    """Return the seconds for which a process's neediest thread waited for a processor.

    0 where the process has ended or the kernel keeps no such account (proc(5), schedstat).
    """
    waits = [0]
    for path in (proc / str(process) / "task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            waits.append(int(path.read_text(encoding="ascii").split()[1]))
    return max(waits) / 1e9


def free_disk_bytes(folder: Path) -> int:
    """Return the bytes a user may still write in `folder`, or in its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def kernel_release() -> str:
    """Return the running kernel's release, as `uname -r` prints it."""
    return platform.release()


def cpu_count(*, process: Path = PROCESS) -> int:
    """Return how many processors this process may use: whole ones, by affinity and quota."""
    usable = len(os.sched_getaffinity(0))
    quota = read_group_limits(process).processors
    return usable if quota is None else max(1, min(usable, int(quota)))


def is_root() -> bool:
    """Tell whether this process has the superuser's id."""
    return os.geteuid() == 0


def processor() -> str:
    """Return the processor's model and a digest of its flags (proc(5))."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.findall(r"^(model name|flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    values = {str(name): str(value) for name, value in found}
    flags = values.get("flags") or values.get("Features") or ""
    digest = hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:16]
    return f"{values.get('model name', platform.machine())}, flags {digest}"
