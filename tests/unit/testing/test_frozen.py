"""Frozen machines: known by what they are made of, believed only while whole."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgforge import host
from imgforge.aki import parse_name
from imgforge.disk import Disk
from imgforge.layout import Layout
from imgforge.machine import INSTANCE_TYPES, Accelerator, AcceleratorKind, Suspended, plain_storage
from imgforge.metadata import HttpTokens, MetadataOptions
from imgforge.pv_way import PvWay, PvWish
from imgforge.recipe import ExpectPart
from imgforge.testing.frozen import (
    Unusable,
    file_digest,
    frozen_folder,
    load_frozen,
    new_frozen,
    plan_key,
    seal,
    write_facts,
)
from imgforge.testing.plan import Image, Plan

MIB = 2**20
FACTS: dict[str, object] = {
    "qemu_version": "7.2.22",
    "seconds": 5.0,
    "instance_id": "i-0123456789abcdef0",
    "image_id": "ami-0123456789abcdef0",
    "public_key": "ssh-ed25519 AAAA",
    "login_user": "root",
    "host_keys": ("ssh-ed25519 BBBB",),
    "has_agent": True,
    "notes": (),
}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("IMGFORGE_CACHE", str(tmp_path / "cache"))
    programs = tmp_path / "bin"
    programs.mkdir()
    qemu = programs / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    disk = Disk(tmp_path / "x.raw", sha256="0" * 64, size_bytes=MIB, layout=None)
    accelerator = Accelerator(AcceleratorKind.TCG, "max", "asked for")
    return Plan(image=Image(disk, ExpectPart()), accelerator=accelerator)


def freeze(plan: Plan) -> Path:
    with new_frozen(plan) as folder:
        (folder / "state").write_bytes(b"devices" * 100)
        (folder / "console.log").write_text("[    0.1] hello\n")
        (folder / "login").mkdir()
        (folder / "login" / "owner").write_bytes(b"PRIVATE KEY")
        (folder / "root.qcow2").write_bytes(b"QFI\xfb" + bytes(5000))
        with (folder / "memory").open("wb") as memory:
            memory.truncate(8 * MIB)
            memory.seek(3 * MIB + 5)
            memory.write(b"page")
        suspended = Suspended(folder / "state", plain_storage(folder), 5.0, b"s" * 32)
        seal(folder, plan=plan, suspended=suspended, facts=FACTS)
    return frozen_folder(plan)


def test_what_was_frozen_is_found_again(plan: Plan) -> None:
    assert load_frozen(plan) is None
    folder = freeze(plan)
    found = load_frozen(plan)
    assert found is not None
    assert found.folder == folder
    assert found.facts.host_keys == ("ssh-ed25519 BBBB",)
    suspended = found.suspended(plan)
    assert suspended.memory == folder / "memory"
    assert suspended.token_secret == b"s" * 32
    assert [layer.path.name for layer in suspended.storage.root.layers] == ["root.qcow2", "x.raw"]


@pytest.mark.parametrize(
    "change",
    [
        {"user_data": b"#!/bin/sh"},
        {"metadata_options": MetadataOptions(http_tokens=HttpTokens.REQUIRED)},
        {"tags": (("Name", "web"),)},
        {"volumes_gib": (1,)},
        {"root_gib": 10},
        {"network": True},
        {"profile": INSTANCE_TYPES["t2.nano"]},
        {"accelerator": Accelerator(AcceleratorKind.KVM, "host", "asked for")},
    ],
)
def test_another_machine_has_another_name(plan: Plan, change: dict[str, Any]) -> None:
    assert plan_key(replace(plan, **change)) != plan_key(plan)


def test_another_disk_or_expectation_has_another_name_but_not_another_place(plan: Plan) -> None:
    image = plan.image
    moved = replace(image, disk=replace(image.disk, path=Path("/elsewhere.raw")))
    changed = replace(image, disk=replace(image.disk, sha256="1" * 64))
    patient = replace(image, expect=ExpectPart(boot_limit_s=1000))
    assert plan_key(replace(plan, image=moved)) == plan_key(plan)
    assert plan_key(replace(plan, image=changed)) != plan_key(plan)
    assert plan_key(replace(plan, image=patient)) != plan_key(plan)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("name", ["state", "root.qcow2", "memory", "console.log", "login/owner"])
@pytest.mark.parametrize("harm", ["cut", "flip", "grow", "remove"])
def test_a_damaged_one_is_refused_by_the_file_that_is_damaged(
    plan: Plan, name: str, harm: str
) -> None:
    path = freeze(plan) / name
    size = path.stat().st_size
    match harm:
        case "cut":
            os.truncate(path, size - 1)
        case "flip":
            flip(path, size // 2)
        case "grow":
            os.truncate(path, size + 4096)
        case _:
            path.unlink()
    with pytest.raises(Unusable, match=name):
        load_frozen(plan)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"schema": 2}'])
def test_one_whose_facts_are_garbage_is_refused(plan: Plan, text: bytes) -> None:
    (freeze(plan) / "frozen.json").write_bytes(text)
    with pytest.raises(Unusable, match=r"frozen\.json"):
        load_frozen(plan)


def test_another_qemu_may_not_go_on_with_it(plan: Plan, tmp_path: Path) -> None:
    freeze(plan)
    (tmp_path / "bin" / "qemu-system-x86_64").write_text("#!/bin/sh\n# newer\n")
    with pytest.raises(Unusable, match="QEMU is another one"):
        load_frozen(plan)


def test_under_kvm_the_processor_must_be_the_same(plan: Plan) -> None:
    kvm = replace(plan, accelerator=Accelerator(AcceleratorKind.KVM, "host", "asked for"))
    folder = freeze(kvm)
    found = load_frozen(kvm)
    assert found is not None
    assert found.facts.host["processor"] == host.processor()
    elsewhere = {**found.facts.host, "processor": "another"}
    write_facts(folder, found.facts.model_copy(update={"host": elsewhere}))
    with pytest.raises(Unusable, match="processor is another one"):
        load_frozen(kvm)


def test_a_new_one_takes_the_place_of_a_damaged_one(plan: Plan) -> None:
    (freeze(plan) / "state").write_bytes(b"")
    folder = freeze(plan)
    assert load_frozen(plan) is not None
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_failure_while_freezing_leaves_nothing(plan: Plan) -> None:
    with pytest.raises(OSError, match="full"), new_frozen(plan) as folder:  # noqa: PT012 (the block is what fails)
        (folder / "memory").write_bytes(b"half")
        raise OSError("full")
    assert list(frozen_folder(plan).parent.iterdir()) == []


def test_holes_and_zeros_are_the_same_to_a_digest_and_their_place_is_not(tmp_path: Path) -> None:
    def write(name: str, at: int, data: bytes) -> str:
        with (tmp_path / name).open("wb") as file:
            file.truncate(4 * MIB)
            file.seek(at)
            file.write(data)
        return file_digest(tmp_path / name)

    assert write("a", MIB, b"x") == write("b", 0, bytes(MIB) + b"x")
    assert write("a", MIB, b"x") != write("c", 2 * MIB, b"x")
    assert write("a", MIB, b"x") != write("d", MIB, b"y")


def test_one_whose_facts_were_changed_is_refused(plan: Plan) -> None:
    path = freeze(plan) / "frozen.json"
    path.write_text(path.read_text().replace('"has_agent": true', '"has_agent": false'))
    with pytest.raises(Unusable, match=r"frozen\.json is damaged"):
        load_frozen(plan)


def test_another_pv_grub_is_another_machine_with_its_own_memory(plan: Plan) -> None:
    disk = replace(plan.image.disk, layout=Layout.PV)
    pv = replace(plan, image=replace(plan.image, disk=disk))
    newest = replace(pv, pv=PvWish(PvWay.DIRECT, parse_name("pv-grub-hd0_1.05-x86_64.gz")))
    old = replace(pv, pv=PvWish(PvWay.DIRECT, parse_name("pv-grub-hd0_1.03-x86_64.gz")))
    assert plan_key(pv) == plan_key(newest) != plan_key(old)
    wide = replace(pv, pv=PvWish(PvWay.XEN_GRUB))
    narrow = replace(pv, pv=PvWish(PvWay.XEN_GRUB, parse_name("pv-grub-hd0_1.05-i386.gz")))
    # Xen's shim, in which guests of 32 bits run, takes memory of its own.
    assert pv.memory_mib < wide.memory_mib < narrow.memory_mib
    hvm = replace(pv, image=replace(plan.image, disk=replace(disk, layout=Layout.HVM_MBR)))
    assert hvm.memory_mib == replace(hvm, pv=narrow.pv).memory_mib == pv.memory_mib
    assert plan_key(hvm) == plan_key(replace(hvm, pv=narrow.pv))
