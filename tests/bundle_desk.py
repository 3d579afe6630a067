"""A folder with a key, its certificate and a disk, in which commands about bundles are run."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.bundle_material import ACCOUNT, noise, write_sparse

PROGRAMS = Path(sys.executable).parent
MIB = 2**20
KEYS = ("-k", "private-key.pem", "-c", "certificate.pem")
IMAGE_BYTES = 64 * MIB


class Desk:
    """The disk `image` has 64 MiB with 12 MiB of data, and its bundle two parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data")}
        self.good("imgforge", "certificate", "create")
        data = {MIB: noise(3 * MIB), 40 * MIB: noise(9 * MIB)}
        write_sparse(folder / "image", size_bytes=IMAGE_BYTES, data=data)

    def words(self, program: str, *arguments: str | Path) -> list[str]:
        return [str(PROGRAMS / program), *map(str, arguments)]

    def run_words(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run_words(self.words(program, *arguments))

    def good(self, program: str, *arguments: str | Path) -> str:
        done = self.run(program, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, *more: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run("imgforge", "bundle", "create", "image", *KEYS, "-u", ACCOUNT, *more)
