import os
import socket
import subprocess
from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.rootfs.folder import fingerprint, lay_over
from imgforge.rootfs.plain_tree import PlainTree


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    folder = tmp_path / "overlay"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc/issue").write_text("hello\n")
    (folder / "etc/run").write_text("#!/bin/sh\n")
    (folder / "etc/run").chmod(0o700)
    (folder / "link").symlink_to("etc/issue")
    return folder


def make_tree(path: Path, overlay: Path) -> tuple[str, int]:
    tree = PlainTree(path, origin="x", mtime_s=7)
    lay_over(overlay, tree, mtime_s=7)
    return tree.finish(path.with_suffix(".index"))


def test_modes_and_times_do_not_depend_on_the_checkout(tmp_path: Path, overlay: Path) -> None:
    first = make_tree(tmp_path / "1", overlay)
    (overlay / "etc").chmod(0o700)
    (overlay / "etc/issue").chmod(0o600)
    (overlay / "etc/run").chmod(0o775)
    os.utime(overlay / "etc/issue", (1, 1))
    assert make_tree(tmp_path / "2", overlay) == first


def test_a_copy_has_the_same_fingerprint_and_a_change_another(overlay: Path) -> None:
    first = fingerprint(overlay)
    os.utime(overlay / "etc/issue", (1, 1))
    assert fingerprint(overlay) == first
    (overlay / "etc/run").chmod(0o600)
    second = fingerprint(overlay)
    (overlay / "etc/issue").write_text("hullo\n")
    assert len({first, second, fingerprint(overlay)}) == 3


def test_a_change_of_a_big_file_is_seen(overlay: Path) -> None:
    (overlay / "big").write_bytes(bytes(2**20))
    first = fingerprint(overlay)
    (overlay / "big").write_bytes(b"\1" * 2**20)
    assert fingerprint(overlay) != first


def test_a_socket_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        with pytest.raises(BadInputError, match="socket"):
            make_tree(tmp_path / "1", folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nowhere"):
        fingerprint(tmp_path / "nowhere")


def test_a_folder_deeper_than_pythons_stack_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        assert fingerprint(folder)
        with pytest.raises(BadInputError, match="more than 255 folders"):
            make_tree(tmp_path / "1", folder)
    finally:  # shutil.rmtree, pytest's own way, goes by recursion
        subprocess.run(["rm", "-rf", folder], check=True, timeout=60)
