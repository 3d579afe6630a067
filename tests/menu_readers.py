"""Other people's readers of menu.lst: pygrub's, and GRUB 2's legacy_configfile in grub-emu."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from imgforge.disk.menu_parser import parse_menu, printable

CORPUS = Path(__file__).parent / "data" / "menu_lst"
PACKAGES = {
    "pygrub": ("xen-utils-4.17",),
    "grub-emu": ("grub-emu", "libsdl1.2debian", "libsdl2-2.0-0", "libcaca0", "libslang2"),
}
UNTOLD = "untold"  # GRUB 2 says the title only where it shows no menu
_LIMIT_S = 20
_SILENCE_S = 0.7
_MOST_PRESSES = 3
_DONE = re.compile(rb"string: legacy_kernel.*Press any key", re.DOTALL)
_DEVICE = re.compile(r"^\([^)]*\)")
# Not one by one: importing pygrub takes longer than reading all.
_PYGRUB = """
import json, logging, sys
sys.path.insert(0, sys.argv[1])
logging.disable(logging.CRITICAL)
from grub.GrubConf import GrubConfigFile
for path in sys.argv[2:]:
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        menu = GrubConfigFile()
        menu.parse(text)
        image = menu.images[menu.default if menu.default < len(menu.images) else 0]
        print(json.dumps([image.title, image.kernel and image.kernel[1], image.args or "",
                          image.initrd and image.initrd[1]]))
    except Exception as error:
        print(json.dumps(type(error).__name__))
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader makes of a menu.lst: the entry it boots, without devices in its paths."""

    title: str
    kernel: str | None
    arguments: str
    initrd: str | None


def read_here(path: Path) -> Reading | None:
    """Read by our own reader."""
    menu = parse_menu(path.read_bytes())
    if not menu.entries:
        return None
    entry = menu.entries[menu.order[0]]
    return _reading([entry.title, entry.kernel, entry.command_line, entry.initrd])


def read_by_pygrub(tree: Path, paths: list[Path]) -> list[Reading | str]:
    """Read by pygrub's own class, and choose as pygrub does; an exception is told by its name."""
    library = next(tree.glob("usr/lib/xen-*/lib/python"))
    done = subprocess.run(
        [sys.executable, "-c", _PYGRUB, library, *paths],
        capture_output=True,
        check=True,
        timeout=60,
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return [value if isinstance(value, str) else _reading(value) for value in said]


def read_by_grub(tree: Path, path: Path, folder: Path) -> Reading | str | None:
    """Read by GRUB 2's legacy_configfile: grub-emu tells each command that it carries out.

    It sees no disk and no root device: nothing is ever loaded. A signal is told by its name.
    """
    (folder / "m").write_bytes(path.read_bytes())
    (folder / "grub.cfg").write_text(
        "set debug=verify\nexport debug\nset pager=0\nset root=nowhere\nexport root\n"
        f"legacy_configfile (host){folder}/m\n"
    )
    libraries = ":".join(str(tree / place) for place in ("usr/lib", "lib"))
    libraries = ":".join(
        f"{place}/{os.uname().machine}-linux-gnu" for place in libraries.split(":")
    )
    argv = [str(tree / "usr/bin/grub-emu"), "-d", str(folder), "-m", "/dev/null"]
    output = _watch(argv, {"LD_LIBRARY_PATH": libraries, "TERM": "vt100"})
    if isinstance(output, str):
        return output
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode(errors="replace"))
    text = text.replace("\r", "").replace("\n", "")
    return _told(text)


def _told(text: str) -> Reading | None:
    titles: list[str] = re.findall(r"Booting `(.*?)'kern/verifiers", text)
    commands: list[str] = re.findall(r"string: (.*?), type: 2", text)
    kernel: str | None = None
    arguments, initrd = "", None
    for command in commands:
        name, _, rest = command.partition(" ")
        if name == "legacy_kernel":
            while rest.startswith("--"):
                rest = rest.partition(" ")[2]
            kernel, _, rest = rest.partition(" ")
            arguments = rest.partition(" ")[2]
        elif name == "legacy_initrd":
            initrd = rest.partition(" ")[0]
    if kernel is None:
        return None
    return _reading([titles[0] if titles else UNTOLD, kernel, arguments, initrd])


def _watch(argv: list[str], environment: dict[str, str]) -> bytes | str:
    """Run GRUB on a wide terminal until an entry has failed; where it is silent, press Enter."""
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os.execve(argv[0], argv, environment)
        finally:
            os._exit(127)
    output, presses = bytearray(), 0
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 12, 4000, 0, 0))
        end_s = time.monotonic() + _LIMIT_S
        while time.monotonic() < end_s and not _DONE.search(output):
            if not select.select([terminal], [], [], _SILENCE_S)[0]:
                if presses == _MOST_PRESSES:
                    break
                os.write(terminal, b"\r")
                presses += 1
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:  # EIO: it has ended
                break
            output += data
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone and os.WIFSIGNALED(status):
            return signal.Signals(os.WTERMSIG(status)).name
        if gone:
            pid = 0
        return bytes(output)
    finally:
        if pid and not _is_reaped(pid):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _reading(values: list[str | None]) -> Reading:
    title, kernel, arguments, initrd = values
    return Reading(
        printable(title or ""),
        _path(kernel),
        re.sub(" +", " ", printable(arguments or "")).strip(),
        _path(initrd),
    )


def _path(path: str | None) -> str | None:
    return _DEVICE.sub("", printable(path)) if path else None
