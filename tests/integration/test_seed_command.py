"""imgforge seed, as it is typed, and its ISO as other programs read it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imgforge.command import run


def imgforge(*words: str | Path, zone: str = "UTC") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "imgforge", "seed", *map(str, words)]
    environment = {**os.environ, "NO_COLOR": "1", "TZ": zone}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "user-data").write_text("#cloud-config\nrun_cmd: []\n")
    (tmp_path / "id.pub").write_text("ssh-ed25519 AAAA me\n")
    (tmp_path / "net").write_text("version: 2\nethernets: {}\n")
    return tmp_path


def test_a_seed_is_written_the_same_each_time_and_read_by_others(files: Path) -> None:
    words: list[str | Path] = ["--user-data", files / "user-data", "--hostname", "web"]
    words += ["--public-key", files / "id.pub", "--network-config", files / "net"]
    first = imgforge(*words, "-o", files / "a.iso")
    assert first.returncode == 0
    assert first.stdout == f"{files}/a.iso\n"
    assert "user-data: warning: part-001: key-unknown" in first.stderr
    assert imgforge(*words, "-o", files / "b.iso", zone="Asia/Kathmandu").returncode == 0
    assert (files / "a.iso").read_bytes() == (files / "b.iso").read_bytes()
    label = run("blkid", ["-p", files / "a.iso"]).stdout
    assert b'LABEL="cidata"' in label
    assert b'TYPE="iso9660"' in label


def test_a_seed_of_an_instance_tells_what_its_metadata_service_would(files: Path) -> None:
    (files / "web.toml").write_text(
        'local_ipv4 = "172.31.0.9"\nuser_data = "#!/bin/sh"\n[public_keys]\nme = "ssh-rsa AAAA"\n'
    )
    made = {}
    for name, words in {"a": (), "b": (), "c": ("--user-data", files / "user-data")}.items():
        ended = imgforge("--instance", files / "web.toml", *words, "-o", files / f"{name}.iso")
        assert ended.returncode == 0, ended.stderr
        made[name] = (files / f"{name}.iso").read_bytes()
    assert made["a"] == made["b"]
    for text in (b"me: ssh-rsa AAAA", b"local-hostname: ip-172-31-0-9.ec2.internal", b"#!/bin/sh"):
        assert text in made["a"]
    assert b"#cloud-config" in made["c"]
    ids = {re.search(rb"instance-id: (i-[0-9a-f]{17})\n", iso) for iso in made.values()}
    assert len({found[1] for found in ids if found}) == 2
    (files / "user-data").write_bytes(b"#!" + b"x" * 17_000)
    (files / "web.toml").write_text("launch_index = 'x'")
    for words, said in (
        (("--instance", files / "web.toml"), "web.toml:1: launch_index: "),
        (("--instance", files / "web.toml", "--hostname", "x"), "--instance says it all"),
    ):
        ended = imgforge(*words, "-o", files / "d.iso")
        assert ended.returncode == 2
        assert said in ended.stderr
    (files / "web.toml").write_text("")
    words = ("--instance", files / "web.toml", "--user-data", files / "user-data")
    ended = imgforge(*words, "-o", files / "d.iso")
    assert ended.returncode == 2
    assert "where EC2 takes at most 16384" in ended.stderr


@pytest.mark.skipif(not shutil.which("bsdtar"), reason="bsdtar is missing: scripts/setup --tests")
@pytest.mark.parametrize("other", ["joliet", "rockridge"])
def test_another_program_sees_each_file_by_either_kind_of_names(files: Path, other: str) -> None:
    iso = files / "a.iso"
    words = ("--user-data", files / "user-data", "--public-key", files / "id.pub")
    assert imgforge(*words, "-o", iso).returncode == 0
    bsdtar = ["bsdtar", "--options", f"iso9660:!{other}", "-f", str(iso)]
    listed = subprocess.run([*bsdtar, "-t"], capture_output=True, text=True)
    assert set(listed.stdout.split()) == {".", "meta-data", "user-data"}
    read = subprocess.run([*bsdtar, "-xO", "user-data"], capture_output=True)
    assert read.stdout == (files / "user-data").read_bytes()
    read = subprocess.run([*bsdtar, "-xO", "meta-data"], capture_output=True)
    assert b"id: ssh-ed25519 AAAA me" in read.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--meta-data", "net"), "meta-data: it has no instance-id"),
        (("--network-config", "id.pub"), "network-config: "),
        (("--public-key", "net"), "is no public key"),
        (("--public-key", "secret"), "is a private key"),
        (("--meta-data", "net", "--hostname", "web"), "--meta-data says it all"),
        (("--user-data", "missing"), "missing: no such file"),
        (("--hostname", "a\nb: c"), "Host name: 'a\\nb: c' is none"),
        (("--hostname", "a" * 300), "Host name: one of 300 characters is none"),
    ],
)
def test_what_no_guest_could_use_is_refused(
    files: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (files / "secret").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (files / "net").write_text("version:\n")
    monkeypatch.chdir(files)
    ended = imgforge(*words, "-o", "x.iso")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert not Path("x.iso").exists()
