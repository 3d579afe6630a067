"""A copy of the minimal guest's disk, to be broken without root: by debugfs, or by plain bytes."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from imgforge.command import run

PARTITION_START = 2048 * 512
_START = "/usr/lib/imgforge/start"
_MENU = "/boot/grub/menu.lst"


@dataclass(frozen=True, slots=True)
class Patient:
    """A raw disk with the minimal guest; paths are those inside, without symbolic links."""

    disk: Path
    is_partitioned: bool

    @classmethod
    def copy(cls, healthy: Path, disk: Path, *, is_partitioned: bool) -> "Patient":
        """Return a copy of `healthy`, without its record: it is another disk soon."""
        shutil.copyfile(healthy, disk)
        return cls(disk, is_partitioned)

    def debugfs(self, *commands: str) -> bytes:
        """Run commands of debugfs(8) on the file system; return what they print."""
        where = f"{self.disk}?offset={PARTITION_START}" if self.is_partitioned else f"{self.disk}"
        with tempfile.NamedTemporaryFile("w", suffix=".debugfs") as script:
            script.write("\n".join(commands) + "\n")
            script.flush()
            return run("debugfs", ["-w", "-f", script.name, where], timeout_s=60).stdout

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "file"
            self.debugfs(f"dump {path} {out}")
            content = out.read_bytes()
        assert content, path
        return content

    def write(self, path: str, content: str | bytes, *, mode: int = 0o755) -> None:
        """Put a plain file there, in the place of what was there."""
        data = content.encode() if isinstance(content, str) else content
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self.debugfs(
                f"rm {path}", f"write {file.name} {path}", f"sif {path} mode 0{0o100000 | mode:o}"
            )
        assert self.read(path) == data

    def remove(self, path: str) -> None:
        """Take a file away."""
        self.read(path)
        self.debugfs(f"rm {path}")

    def find(self, folder: str, start: str) -> str:
        """Return the one path in `folder` whose name begins with `start`."""
        listed = self.debugfs(f"ls -p {folder}").decode().splitlines()
        names = [line.split("/")[5] for line in listed if line.count("/") > 5]
        (found,) = [name for name in names if name.startswith(start)]
        return f"{folder}/{found}"

    def change(self, path: str, old: str, new: str) -> None:
        """Replace a text of a file, wherever it stands."""
        text = self.read(path).decode()
        assert old in text, path
        self.write(path, text.replace(old, new))

    def change_menu(self, old: str, new: str) -> None:
        """Replace a text of menu.lst."""
        self.change(_MENU, old, new)

    def change_start(self, old: str, new: str) -> None:
        """Replace a text of what init runs first."""
        self.change(_START, old, new)

    def before_start(self, *lines: str) -> None:
        """Let init first run some lines of shell with /proc there."""
        mount = "/bin/busybox mount -t proc proc /proc"
        unmount = "/bin/busybox umount /proc"
        old = "#!/bin/sh\n"
        self.change_start(old, "\n".join(("#!/bin/busybox sh", mount, *lines, unmount, "")))

    def poke(self, offset: int, content: bytes) -> None:
        """Overwrite bytes of the disk."""
        with self.disk.open("r+b") as file:
            file.seek(offset)
            file.write(content)
