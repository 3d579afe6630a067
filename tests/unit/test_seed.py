"""The NoCloud seed: its bytes, as other readers see them, and input that no guest could use."""

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pycdlib
import pytest
import yaml

from imgforge.errors import BadInputError
from imgforge.metadata import Instance
from imgforge.seed import (
    Seed,
    instance_id_of,
    make_iso,
    require_good,
    seed_of,
    write_meta_data,
    write_seed,
)

SEED = Seed(b"instance-id: i-1\n", b"#!/bin/sh\n", b"", b"version: 2\n")
SECTOR = 2048


def names(iso: bytes, descriptor: int, encoding: str) -> dict[str, tuple[bytes, bytes]]:
    """Read an ISO's root by the standard alone: name to content and the record's system use."""
    start = descriptor * SECTOR
    first, size = struct.unpack_from("<I4xI", iso, start + 156 + 2)
    at, end = first * SECTOR, first * SECTOR + size
    found = {}
    while at < end and iso[at]:
        length, name_length = iso[at], iso[at + 32]
        extent, content_size = struct.unpack_from("<I4xI", iso, at + 2)
        name = iso[at + 33 : at + 33 + name_length]
        use = iso[at + 33 + name_length + (1 - name_length % 2) : at + length]
        if name not in {b"\0", b"\1"}:
            content = iso[extent * SECTOR : extent * SECTOR + content_size]
            found[name.decode(encoding)] = (content, use)
        at += length
    return found


def test_its_volume_is_called_cidata_in_both_forms() -> None:
    iso = make_iso(SEED.files())
    assert iso[16 * SECTOR : 16 * SECTOR + 7] == b"\x01CD001\x01"
    assert iso[16 * SECTOR + 40 : 16 * SECTOR + 72].decode().rstrip() == "cidata"
    assert iso[17 * SECTOR] == 2
    assert iso[17 * SECTOR + 88 : 17 * SECTOR + 91] == b"%/E"  # Joliet, level 3
    label = iso[17 * SECTOR + 40 : 17 * SECTOR + 72].decode("utf-16-be")
    assert label.rstrip(" \0") == "cidata"


def test_each_file_is_there_by_its_joliet_and_its_rock_ridge_name() -> None:
    iso = make_iso(SEED.files())
    joliet = {name: content for name, (content, _) in names(iso, 17, "utf-16-be").items()}
    assert joliet == SEED.files()
    plain = names(iso, 16, "ascii")
    rock_ridge = {
        use.partition(b"NM")[2][3 : use.partition(b"NM")[2][0] - 2].decode(): content
        for content, use in plain.values()
    }
    assert rock_ridge == SEED.files()


def test_the_library_reads_back_what_it_wrote_and_all_may_read_it() -> None:
    iso = pycdlib.PyCdlib()
    iso.open_fp(BytesIO(make_iso(SEED.files())))
    for name, content in SEED.files().items():
        for facade in (iso.get_joliet_facade(), iso.get_rock_ridge_facade()):
            read = BytesIO()
            facade.get_file_from_iso_fp(read, f"/{name}")
            assert read.getvalue() == content
        rock_ridge = iso.get_rock_ridge_facade().get_record(f"/{name}").rock_ridge
        assert rock_ridge is not None
        assert rock_ridge.get_file_mode() == 0o100444
    iso.close()


def test_the_same_seed_gives_the_same_bytes_at_another_time_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_iso(SEED.files())
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.25)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    write_seed(SEED, tmp_path / "folder" / "seed.iso")
    assert (tmp_path / "folder" / "seed.iso").read_bytes() == first


@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 100_000])
def test_a_file_of_any_size_is_whole(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    iso = make_iso(Seed(b"instance-id: i-1\n", content).files())
    assert names(iso, 17, "utf-16-be")["user-data"][0] == content
    assert len(iso) % SECTOR == 0


def test_it_tells_what_the_metadata_service_would() -> None:
    instance = Instance(
        "i-0123456789abcdef0",
        "ami-0123456789abcdef0",
        public_keys={"mine": "ssh-ed25519 AAAA me", "yours: x": "ssh-rsa BBBB # : '"},
        user_data=b"#!/bin/sh\n",
    )
    seed = seed_of(instance)
    require_good(seed)
    assert yaml.safe_load(seed.meta_data) == {
        "instance-id": instance.instance_id,
        "local-hostname": instance.hostname,
        "public-keys": instance.public_keys,
    }
    assert seed.files()["user-data"] == b"#!/bin/sh\n"
    assert set(seed_of(replace(instance, user_data=None)).files()) == {"meta-data", "user-data"}


@pytest.mark.parametrize(
    "name",
    ["a\nb: c", "web\n", "a" * 300, "a" * 64, ".".join(["a" * 63] * 4), "-a", "a-", "a..b", "a.",
     "a_b", "ü", "\ud800", " "],
)  # fmt: skip
def test_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="Host name: "):
        write_meta_data("i-1", hostname=name)


@pytest.mark.parametrize("name", ["web", "3com.example", ".".join(["a" * 63] * 3), "x-1.Y"])
def test_a_host_name_is_told(name: str) -> None:
    assert yaml.safe_load(write_meta_data("i-1", hostname=name))["local-hostname"] == name


def test_an_instance_is_a_new_one_when_it_is_told_something_else() -> None:
    assert instance_id_of(b"a", b"b") == instance_id_of(b"a", b"b")
    assert len({instance_id_of(b"a", b"b"), instance_id_of(b"ab", b""), instance_id_of()}) == 3


@pytest.mark.parametrize(
    ("meta_data", "said"),
    [
        (b"", "no YAML of keys"),
        (b"- a\n", "no YAML of keys"),
        (b"a: [\n", "no YAML: line 2"),
        (b"\xff", "no UTF-8"),
        (b"local-hostname: web\n", "no instance-id"),
        (b"instance-id:\n", "no instance-id"),
        (b"instance-id: [a]\n", "no instance-id"),
        (b"instance-id: i-1\ndsmode: remote\n", "dsmode is 'remote'"),
        (b"instance-id: i-1\ndsmode: [local]\n", "dsmode is"),
        (b"instance-id: !!python/name:os.system x\n", "no YAML: line 1"),
        (b"[" * 3000, "no YAML"),
        (b"x" * 300_000, "more than is looked at"),
    ],
)
def test_meta_data_that_no_guest_could_use_is_refused(meta_data: bytes, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        require_good(Seed(meta_data))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (b"ethernets: {}\n", "version is none"),
        (b"version: 3\n", "version is '3'"),
        (b"version: [2]\n", "version is"),
        (b"network: {ethernets: {}}\n", "version is none"),
        (b"network: 3\n", "version is none"),
        (b"auto eth0\n", "no YAML of keys"),
    ],
)
def test_a_network_that_no_guest_could_use_is_refused(network: bytes, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        require_good(Seed(b"instance-id: i-1\n", network_config=network))


@pytest.mark.parametrize("network", [b"version: 1\n", b"network:\n  version: 2\n"])
def test_a_network_with_a_version_is_taken(network: bytes) -> None:
    seed = Seed(write_meta_data("i-1"), network_config=network)
    require_good(seed)
    assert seed.files()["network-config"] == network
