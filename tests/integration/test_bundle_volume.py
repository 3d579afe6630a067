"""A volume becomes a bundle, and what is extracted again is the volume, less what stays out."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imgforge.command import find_program
from tests.volume_material import (
    KEPT_HIDDEN,
    MENU,
    SECRETS,
    make_machine,
    see_disk,
    see_folder,
)
from tests.xfs_material import fill_by_prototype, make_xfs_file

PROGRAMS = Path(sys.executable).parent
SECTOR = 512
FIRST = {"none": 0, "mbr": 63, "gpt": 4096}
IS_ROOT = os.geteuid() == 0
ADDED = {"dev/console", "dev/null", "dev/tty", "dev/zero", "lost+found"}
STAGES = {f"boot/grub/{name}" for name in ("stage1", "stage2", "e2fs_stage1_5")}


class Desk:
    """A folder with a key, its certificate, and a machine's tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "XDG_DATA_HOME": str(folder / "data"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.good("imgforge", "certificate", "create")

    def run(self, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAMS / program), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def good(self, program: str, *arguments: str | Path) -> str:
        done = self.run(program, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bundle(self, source: Path, *more: str) -> subprocess.CompletedProcess[str]:
        keys = ("-k", "private-key.pem", "-c", "certificate.pem", "-u", "1234-5678-9012")
        return self.run("imgforge", "bundle", "volume", source, *keys, "--json", *more)

    def made(self, source: Path, *more: str) -> tuple[dict[str, Any], Path]:
        """Bundle and extract again; return what was told, and the disk."""
        done = self.bundle(source, *more)
        assert done.returncode == 0, done.stderr
        values = json.loads(done.stdout)
        return values, self.extract(Path(values["manifest"]))

    def extract(self, manifest: Path) -> Path:
        disk = self.folder / "back.raw"
        self.good(
            "imgforge",
            "bundle",
            "extract",
            manifest,
            "-k",
            "private-key.pem",
            "-o",
            disk,
            "--force",
        )
        return disk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machine")
    return make_machine(folder / "tree", as_root=IS_ROOT)


def ask(program: str, *words: str | Path) -> str:
    line = [find_program(program), *words]
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def part(disk: Path, first_lba: int) -> str:
    return f"{disk}?offset={first_lba * SECTOR}"


@pytest.mark.parametrize("partition", ["none", "mbr", "gpt"])
def test_what_is_extracted_is_the_tree_less_what_stays_out(
    desk: Desk, machine: Path, partition: str
) -> None:
    values, disk = desk.made(machine, "--partition", partition, "-s", "600M")
    wanted, found = see_folder(machine), see_disk(disk)
    assert disk.stat().st_size == 600 * 2**20
    assert disk.stat().st_blocks * 512 < 100 * 2**20
    ask("e2fsck", "-fn", part(disk, FIRST[partition]))
    emptied = {path for path in wanted if re.match(r"(?:dev|proc|sys|mnt|media)/", path)}
    keys = {"srv/tls.key", "srv/no-name-tells"}
    changed = {"etc/fstab"} | (set() if partition == "none" else {"boot/grub/menu.lst"})
    missing = wanted.keys() - found.keys()
    assert missing == emptied | keys | set(SECRETS) | {"root/.config/gcloud"}
    assert found.keys() - wanted.keys() == ADDED | (STAGES if partition != "none" else set())
    for path in wanted.keys() & found.keys() - changed:
        assert found[path] == wanted[path], path
    assert set(KEPT_HIDDEN) <= found.keys()
    for path in changed:
        assert found[path].entry == wanted[path].entry
    left_out = {one["path"]: one["cause"] for one in values["left_out"]}
    assert left_out["/srv/tls.key"] == left_out["/srv/no-name-tells"] == "private-key"
    assert left_out["/root/.zsh_history"] == "history"
    assert left_out["/run/socket"] == "socket"
    held_back = {f"/{path}" for path in SECRETS if "gcloud" not in path}
    assert {*held_back, "/root/.config/gcloud"} <= left_out.keys()
    assert values["partition"] == partition
    check_arrangement(disk, partition)


def check_arrangement(disk: Path, partition: str) -> None:
    """Check table, loader, file system, menu.lst and fstab."""
    place = part(disk, FIRST[partition])
    shown = ask("tune2fs", "-l", place)
    assert "Check interval:           0 (<none>)" in shown
    assert re.search(r"Maximum mount count: +-1", shown)
    assert re.search(r"volume name: +cloudimg-rootfs", shown)
    assert "extent" in shown  # ext4, as fstab says
    menu = ask("debugfs", "-R", "cat /boot/grub/menu.lst", place)
    root = "(hd0)" if partition == "none" else "(hd0,0)"
    assert menu == MENU.replace("(hd0)", root)
    fstab = ask("debugfs", "-R", "cat /etc/fstab", place)
    assert "\n#LABEL=UEFI     /boot/efi       vfat    defaults        0 0\n" in fstab
    with disk.open("rb") as file:
        head = file.read(2080 * SECTOR)
    if partition == "none":
        assert not any(head[:1024])
        return
    assert b"GRUB" in head[:512]
    table = ask("sfdisk", "-d", disk)
    if partition == "mbr":
        assert re.search(r"1 : start= +63, size= +\d+, type=83, bootable", table)
        assert b"/boot/grub/stage2 /boot/grub/menu.lst" in head[512 : 63 * 512]
    else:
        assert "No problems found" in ask("sgdisk", "-v", disk)
        shown = ask("sgdisk", "-p", disk)
        assert re.search(r"\n +1 +4096 +\d+ .* 8300 ", shown)
        assert re.search(r"\n +128 +2048 +4095 +1024.0 KiB +EF02 ", shown)
        assert b"/boot/grub/stage2 /boot/grub/menu.lst" in head[2048 * SECTOR :]


def test_the_same_tree_gives_the_same_disk_also_by_way_of_a_disk(desk: Desk, machine: Path) -> None:
    more = ("--partition", "mbr", "-s", "300M", "-e", "/var/sparse")
    _, first = desk.made(machine, *more)
    once = first.rename(desk.folder / "once.raw")
    _, second = desk.made(machine, *more, "-p", "again")
    assert ask("cmp", once, second) == ""
    second.unlink()
    values, third = desk.made(once, "-d", "third", "-p", "third")
    assert values["partition"] == "mbr"
    assert [one["path"] for one in values["left_out"]] == [
        f"/{name}/*" for name in ("dev", "media", "mnt", "proc", "sys")
    ]
    assert see_disk(third) == see_disk(once)
    shown = [ask("tune2fs", "-l", part(disk, 63)) for disk in (once, third)]
    uuids = [re.findall(r"UUID: +(\S+)", text) for text in shown]
    assert uuids[0] == uuids[1]


def test_the_filter_can_be_opened_in_part_or_whole(desk: Desk, machine: Path) -> None:
    more = ("--partition", "none", "-s", "300M", "-e", "/var/sparse,/odd")
    include = "/root/.ssh/id_rsa,srv/*.key,.bash_history,/root/.aws/credentials,/nothing"
    done = desk.bundle(machine, *more, "--include", include)
    assert done.returncode == 0, done.stderr
    assert "Include '/nothing': the filter held nothing of that name back" in done.stderr
    found = see_disk(desk.extract(desk.folder / "image.bundle/image.manifest.xml"))
    included = {
        *("root/.ssh/id_rsa", "srv/tls.key", "root/.bash_history", "root/.aws/credentials"),
    }
    assert included <= found.keys()
    assert not (set(SECRETS) - included) & found.keys()
    assert "odd" not in found
    _, disk = desk.made(machine, *more, "--no-filter", "-p", "all")
    assert {*SECRETS, "srv/no-name-tells"} <= see_disk(disk).keys()


def test_ec2_bundle_vol_works_as_the_guide_has_it(desk: Desk, machine: Path) -> None:
    """Lines 1077 and 1249 of the guide, with paths replaced and a tree in the place of /."""
    (desk.folder / "cert").mkdir()
    (machine / "tmp/cert").mkdir()
    (machine / "tmp/cert/mine").write_text("mine")
    (desk.folder / "bundle").mkdir()
    keys = ("-k", "private-key.pem", "-c", "certificate.pem", "-u", "123456789012")
    where = ("-v", machine, "-d", "bundle", "-s", "500")
    try:
        said = desk.good(
            "ec2-bundle-vol", *keys, "-r", "x86_64", "-e", "/tmp/cert", "--partition", "gpt", *where
        )
    finally:
        shutil.rmtree(machine / "tmp/cert")
        os.utime(machine / "tmp", (1_500_000_000, 1_500_000_003))
    assert said == "Bundle manifest is bundle/image.manifest.xml\n"
    disk = desk.extract(desk.folder / "bundle/image.manifest.xml")
    assert disk.stat().st_size == 500 * 2**20
    assert "tmp/cert" not in see_disk(disk)
    assert sorted(path.name for path in (desk.folder / "bundle").iterdir()) == [
        "image.manifest.xml",
        *(
            f"image.part.{number}"
            for number in range(len(list((desk.folder / "bundle").iterdir())) - 1)
        ),
    ]


def test_what_cannot_be_is_told_and_leaves_nothing(desk: Desk, machine: Path) -> None:
    (desk.folder / "data").mkdir(exist_ok=True)  # the installation's own EC2 key goes there
    before = sorted(path.name for path in desk.folder.iterdir())
    small = desk.bundle(machine, "--partition", "gpt", "-s", "4M", "-e", "/var/sparse")
    assert small.returncode == 2
    assert re.search(r"its files need \d+ MiB, an image of 4 MiB leaves \d+", small.stderr)
    typo = desk.bundle(machine, "-e", "/tmp/cretificates")
    assert typo.returncode == 2
    assert "there is no" in typo.stderr
    huge = desk.bundle(machine, "-s", "11G")
    assert huge.returncode == 2
    outside = desk.bundle(machine, "-e", "../x")
    assert outside.returncode == 2
    nothing = desk.bundle(machine / "etc", "--partition", "mbr")
    assert nothing.returncode == 2
    assert "/boot/grub/menu.lst" in nothing.stderr
    assert desk.bundle(machine / "up").returncode == 2
    assert sorted(path.name for path in desk.folder.iterdir()) == before


def test_what_another_file_system_cannot_hold_or_no_reader_reads_is_told(
    desk: Desk, machine: Path
) -> None:
    more = ("--partition", "none", "-e", "/var/sparse", "-s", "400M")
    long = desk.bundle(machine, *more, "--filesystem", "xfs")
    assert long.returncode == 2
    assert "its label 'cloudimg-rootfs' has more than the 12 bytes" in long.stderr
    fstab = desk.folder / "fstab"
    disk = desk.folder / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(8 * 2**20)
    nothing = desk.bundle(disk)
    assert (nothing.returncode, "unknown" in nothing.stderr) == (2, True)
    fstab.write_text("nothing\n")
    for path in ("fstab", "none"):
        bad = desk.bundle(machine, *more, "--fstab", path)
        assert bad.returncode == 2
        assert f"Fstab {path}:" in bad.stderr


def test_a_disk_that_was_not_unmounted_is_bundled_as_a_mount_would_show_it(
    desk: Desk, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/word").write_bytes(b"before".ljust(1024, b"."))
    disk = desk.folder / "disk.raw"
    ask("mke2fs", "-q", "-t", "ext4", "-b", "1024", "-d", tree, disk, "32M")
    block = ask("debugfs", "-R", "blocks /etc/word", disk).split()[0]
    (tmp_path / "new").write_bytes(b"after".ljust(1024, b"."))
    (tmp_path / "commands").write_text(f"jo\njw -b {block} {tmp_path / 'new'}\njc\n")
    ask("debugfs", "-w", "-f", tmp_path / "commands", disk)  # committed, and not done
    assert "needs_recovery" in ask("debugfs", "-R", "feature", disk)
    before = disk.read_bytes()
    assert b"before" in before
    done = desk.bundle(disk, "--partition", "none")
    assert done.returncode == 0, done.stderr
    assert "its journal is replayed in a copy" in done.stderr
    made = desk.extract(Path(json.loads(done.stdout)["manifest"]))
    assert ask("debugfs", "-R", "cat /etc/word", made).startswith("after.")
    assert disk.read_bytes() == before


def test_a_disk_of_xfs_is_bundled_and_stays_xfs(desk: Desk, tmp_path: Path) -> None:
    tree = fill_by_prototype(tmp_path)
    options = ("-m", "crc=1", "-p", str(tmp_path / "prototype"))
    disk = make_xfs_file(desk.folder / "disk.raw", options)
    values, made = desk.made(disk, "--partition", "none")
    assert (values["filesystem"], values["label"]) == ("xfs", "root")
    shown = [ask("xfs_db", "-r", "-c", "uuid", one) for one in (disk, made)]
    assert shown[0] == shown[1]
    ask("xfs_repair", "-n", made)
    assert see_disk(made) == see_disk(disk)
    assert see_disk(made).keys() == see_folder(tree).keys()


def test_a_tree_is_the_same_in_xfs_as_in_ext4(desk: Desk, machine: Path) -> None:
    (desk.folder / "fstab").write_text("LABEL=root / auto defaults 1 1\n")
    more = ("--partition", "mbr", "-e", "/var/sparse", "-s", "400M", "--fstab", "fstab")
    seen = {}
    for kind in ("ext4", "xfs"):
        kept = ("--include", "root/.ssh/id_rsa") if IS_ROOT else ()
        values, made = desk.made(machine, *more, *kept, "--filesystem", kind, "-d", kind)
        assert (values["filesystem"], values["label"]) == (kind, "root")
        seen[kind] = see_disk(made)
    stages = {f"boot/grub/{name}" for name in ("e2fs_stage1_5", "xfs_stage1_5")}
    for path in (*stages, "lost+found", "boot/grub"):  # the latter's time is that of its making
        seen["ext4"].pop(path, None)
        seen["xfs"].pop(path, None)
    assert seen["xfs"] == seen["ext4"]


def test_an_fstab_may_be_given_or_generated(desk: Desk, machine: Path) -> None:
    more = ("--partition", "none", "-e", "/var/sparse", "-s", "300M")
    (desk.folder / "fstab").write_text("/dev/xvda1 / ext3 defaults 1 1\n")
    values, disk = desk.made(machine, *more, "--fstab", "fstab")
    assert values["filesystem"] == "ext3"
    assert ask("debugfs", "-R", "cat /etc/fstab", disk) == "/dev/xvda1 / ext3 defaults 1 1\n"
    generated = (*more, "--generate-fstab", "-B", "ami=sda1,ephemeral0=sdc", "--force")
    _, disk = desk.made(machine, *generated)
    text = ask("debugfs", "-R", "cat /etc/fstab", disk)
    assert text.startswith("LABEL=cloudimg-rootfs\t/\text4\tdefaults\t1 1\n/dev/sdc\t/mnt\t")


def test_a_label_that_only_menu_lst_names_is_kept(desk: Desk) -> None:
    tree = make_machine(desk.folder / "tree", as_root=False)
    (tree / "etc/fstab").unlink()
    values, _ = desk.made(tree, "--partition", "none", "-s", "200M", "-e", "/var/sparse")
    assert (values["filesystem"], values["label"]) == ("ext3", "cloudimg-rootfs")


@pytest.mark.skipif(IS_ROOT, reason="root reads everything")
def test_unreadable_files_are_named(desk: Desk) -> None:
    tree = make_machine(desk.folder / "tree", as_root=False)
    (tree / "etc/shadow").write_text("secret")
    (tree / "etc/shadow").chmod(0)
    (tree / "var/log").chmod(0)
    done = desk.bundle(tree)
    (tree / "var/log").chmod(0o755)
    assert done.returncode == 2
    assert "2 paths cannot be read" in done.stderr
    assert "/etc/shadow: Permission denied" in done.stderr
    assert "/var/log: Permission denied" in done.stderr


def test_the_bundle_does_not_hold_itself(desk: Desk, machine: Path) -> None:
    tree = make_machine(desk.folder / "tree", as_root=False)
    (tree / "srv/out").mkdir()
    (tree / "srv/out/mine").write_text("stays")
    (tree / "srv/out/old.part.0").write_text("of another bundle")
    _, disk = desk.made(tree, "-d", str(tree / "srv/out"), "-s", "500M", "--partition", "none")
    assert {path for path in see_disk(disk) if path.startswith("srv/out/")} == {"srv/out/mine"}
