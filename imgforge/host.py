"""The machine and the user we run as: the only place that reads the environment."""

import os
import platform
import pwd
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

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
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin")


def search_path() -> str:
    """Return PATH with the system folders at its end: Debian users have no /usr/sbin in theirs."""
    own = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return os.pathsep.join([*own, *(folder for folder in _SYSTEM_PATH if folder not in own)])


def child_environment() -> dict[str, str]:
    """Return what a program we start may know: nothing that could change the bytes it writes."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**passed, "PATH": search_path(), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


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


def runtime_parent() -> Path:
    """Return where short-lived sockets may stand; short, since a socket path has 108 bytes."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and len(str(runtime)) < 40 and os.access(runtime, os.W_OK):
        return runtime
    return Path(tempfile.gettempdir()) if len(tempfile.gettempdir()) < 40 else Path("/tmp")  # noqa: S108


def wants_color() -> bool:
    """Tell whether NO_COLOR (no-color.org) leaves colours allowed."""
    return not os.environ.get("NO_COLOR")


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of this machine, from /proc/meminfo."""

    total_bytes: int
    available_bytes: int


def memory() -> Memory:
    """Read this machine's memory (proc(5))."""
    fields = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) * 1024
    return Memory(total_bytes=fields["MemTotal"], available_bytes=fields["MemAvailable"])


def free_disk_bytes(folder: Path) -> int:
    """Return the bytes a user may still write in `folder`, or in its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def kernel_release() -> str:
    """Return the running kernel's release, as `uname -r` prints it."""
    return platform.release()


def cpu_count() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def is_root() -> bool:
    """Tell whether this process has the superuser's id."""
    return os.geteuid() == 0
