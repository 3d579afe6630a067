"""The Xen appliance is made of locked packages, the same each time, and small."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imgforge import host
from imgforge.doctor import examine_appliance
from imgforge.errors import HostError
from imgforge.inventory import CacheKind, take_inventory
from imgforge.rootfs import HYPERVISOR, INITRAMFS, KERNEL, LOADER, LOADER_32, build_appliance
from imgforge.xen_appliance import (
    find_appliance,
    find_damaged,
    prepare_appliance,
    source_folder,
)

LARGEST_BYTES = 25 * 10**6
FILES = (HYPERVISOR, KERNEL, INITRAMFS, LOADER, LOADER_32)


@pytest.fixture(scope="module")
def folder() -> Path:
    cache = host.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    return prepare_appliance(cache).folder


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def copy_to(cache: Path, folder: Path) -> Path:
    return Path(shutil.copytree(folder, cache / "xen" / folder.name))


def digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def test_it_is_below_25_mb(folder: Path) -> None:
    assert sum((folder / name).stat().st_size for name in FILES) < LARGEST_BYTES


def test_it_is_found_again_without_being_made(folder: Path) -> None:
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES}
    assert prepare_appliance(host.cache_dir()).folder == folder
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES} == before
    state = find_appliance(host.cache_dir())
    assert state.folder == folder
    assert state.size_bytes < LARGEST_BYTES


def test_its_kernel_is_a_dom0_s_and_its_initramfs_an_archive(folder: Path) -> None:
    kernel = gzip.decompress((folder / KERNEL).read_bytes())
    assert kernel.startswith(b"\x7fELF")
    assert gzip.decompress((folder / INITRAMFS).read_bytes()).startswith(b"070701")
    assert (folder / HYPERVISOR).read_bytes().startswith(b"\x7fELF")


def test_the_cache_lists_it(folder: Path) -> None:
    items = take_inventory(host.cache_dir(), kinds=[CacheKind.XEN])
    assert [item.path for item in items if "linux-image-" in item.what].count(folder) == 1


@pytest.mark.slow
def test_it_is_the_same_bit_for_bit_wherever_and_whenever_it_is_made(
    folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "another cache"
    cache.mkdir()
    # Downloaded once: what is compared is what is made of the packages.
    shutil.copytree(host.cache_dir() / "packages", cache / "packages", copy_function=os.link)
    old = os.umask(0o077)
    try:
        again = prepare_appliance(cache).folder
    finally:
        os.umask(old)
    assert again != folder
    assert digests(again) == digests(folder)


def test_doctor_reports_it(folder: Path) -> None:
    finding = examine_appliance()
    assert finding.good
    assert str(folder) in finding.found
    assert " MB in " in finding.found


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [cut_short, change_a_byte, Path.unlink])
def test_a_damaged_file_of_it_is_noticed(
    folder: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    copy = copy_to(tmp_path, folder)
    assert find_damaged(copy) == ()
    damage(copy / name)
    assert find_damaged(copy) == (name,)


@pytest.mark.parametrize("facts", [b"", b"{}", b"[1]", b"\xff", b'{"sha256": 1}'])
def test_one_whose_facts_are_none_is_no_appliance(
    folder: Path, tmp_path: Path, facts: bytes
) -> None:
    copy = copy_to(tmp_path, folder)
    (copy / "appliance.json").write_bytes(facts)
    assert find_damaged(copy) == ("appliance.json",)


def test_doctor_tells_of_a_damaged_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_short(copy_to(tmp_path, folder) / KERNEL)
    monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path))
    found = examine_appliance().found
    assert found.startswith("damaged in ")
    assert f"({KERNEL}): the first boot that needs it makes it anew" in found


@pytest.mark.slow
def test_a_damaged_one_is_made_anew(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(host.cache_dir() / "packages", tmp_path / "packages", copy_function=os.link)
    copy = copy_to(tmp_path, folder)
    cut_short(copy / KERNEL)
    (copy / LOADER).unlink()
    assert prepare_appliance(tmp_path).folder == copy
    assert digests(copy) == digests(folder)
    assert find_damaged(copy) == ()
    assert sorted(path.name for path in copy.parent.iterdir()) == [copy.name, "locks"]


@pytest.mark.parametrize("packages", ["there", "missing"])
def test_a_cache_without_room_is_told_before_anything_is_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: str
) -> None:
    assert folder.is_dir()  # its packages are in the cache
    if packages == "there":
        (tmp_path / "packages").symlink_to(host.cache_dir() / "packages")
    usage = shutil.disk_usage(tmp_path)._replace(free=20 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    need = "600 MB are needed in .* to unpack" if packages == "there" else "707 MB .* 107 MB of pac"
    with pytest.raises(HostError, match=f"{need}.*20 MB are free") as caught:
        prepare_appliance(tmp_path)
    assert "IMGFORGE_CACHE" in caught.value.hint


def test_doctor_says_where_it_is_not_yet_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path))
    finding = examine_appliance()
    assert finding.good
    assert finding.found.startswith("not yet made")


def test_other_scripts_give_another_appliance(folder: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(source_folder(), sources)
    with (sources / "init").open("a", encoding="utf-8") as script:
        script.write("# changed\n")
    assert find_appliance(host.cache_dir()).folder == folder
    assert find_appliance(host.cache_dir(), sources=sources).folder is None


@pytest.mark.parametrize("reason", ["No space left on device", "Disk quota exceeded"])
def test_a_disk_that_fills_up_while_it_is_made_is_told_with_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    program = tmp_path / "bin/dpkg-deb"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho 'tar: x: Cannot write: {reason}' >&2\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    new = tmp_path / "new"
    new.mkdir()
    with pytest.raises(HostError, match=r"no room left .* they take 600 MB") as caught:
        build_appliance([tmp_path / "a.deb"], scripts=source_folder(), destination=new)
    assert "IMGFORGE_CACHE" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir() if "aside" in path.name] == []


def test_an_installed_package_has_its_sources(tmp_path: Path) -> None:
    build = pytest.importorskip("setuptools.build_meta")
    copy = tmp_path / "imgforge"
    root = source_folder().parents[1]
    shutil.copytree(root / "imgforge", copy / "imgforge")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    program = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", program, tmp_path], cwd=copy, check=True, capture_output=True
    )
    assert build is not None
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for source in source_folder().iterdir():
            assert archive.read(f"imgforge/guest_xen/{source.name}") == source.read_bytes()


def test_without_its_sources_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"appliance\.toml is not there"):
        prepare_appliance(tmp_path, sources=tmp_path)
