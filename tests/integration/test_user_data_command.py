"""imgforge user-data, as it is typed."""

import base64
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = b"#!/bin/sh\necho hello\n"
CONFIG = b"#cloud-config\npackages: [nginx]\n"


def imgforge(*words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "imgforge", "user-data", *map(str, words)]
    environment = {**os.environ, "NO_COLOR": "1", "PYTHONHASHSEED": str(len(words))}
    return subprocess.run(command, capture_output=True, input=stdin, env=environment, timeout=60)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "setup.sh").write_bytes(SCRIPT)
    (tmp_path / "base.yaml").write_bytes(CONFIG)
    return tmp_path / "setup.sh", tmp_path / "base.yaml"


def test_parts_become_a_message_that_checks_well(tmp_path: Path, parts: tuple[Path, Path]) -> None:
    out = tmp_path / "out" / "user-data"
    made = imgforge("make", *parts, "--gzip", "-o", out)
    assert (made.returncode, made.stdout) == (0, b"")
    assert b" of 16384 bytes" in made.stderr
    again = imgforge("make", *parts, "--gzip")
    assert again.stdout == out.read_bytes()
    encoded = imgforge("make", *parts, "--base64", "--gzip")
    assert base64.b64decode(encoded.stdout) == out.read_bytes()
    checked = imgforge("check", out, "--json")
    told = json.loads(checked.stdout)
    assert checked.returncode == 0
    assert told["takes_effect"]
    assert told["wrappings"] == ["gzip", "mime"]
    assert [(part["name"], part["type"], part["stage"]) for part in told["parts"]] == [
        ("001-setup.sh", "text/x-shellscript", "final"),
        ("002-base.yaml", "text/cloud-config", "config"),
    ]


def test_one_part_stays_as_it_is_unless_asked(parts: tuple[Path, Path]) -> None:
    assert imgforge("make", parts[0]).stdout == SCRIPT
    assert imgforge("make", parts[0], "--mime").stdout.startswith(b"MIME-Version: 1.0\n")
    assert gzip.decompress(imgforge("make", parts[0], "--gzip").stdout) == SCRIPT


def test_a_check_reads_standard_input_and_ends_with_2_where_something_has_no_effect() -> None:
    good = imgforge("check", "-", stdin=SCRIPT)
    assert good.returncode == 0
    assert b"once per instance" in good.stdout
    bad = imgforge("check", "-", stdin=b"packages: [nginx]\n")
    assert bad.returncode == 2
    assert b"error: part-001: beginning-unknown: a first line 'packages: [nginx]'" in bad.stdout
    assert b"YAML needs #cloud-config" in bad.stdout


def test_what_a_file_holds_cannot_write_to_the_terminal() -> None:
    nasty = b"MIME-Version: 1.0\nContent-Type: text/x-shellscript\n"
    nasty += b'Content-Disposition: attachment; filename="\x1b[31mred"\n\nno\x1b[0m\n'
    checked = imgforge("check", "-", stdin=nasty)
    assert b"\x1b" not in checked.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("make", "/nonexistent"), b"File /nonexistent: no such file or directory."),
        (("check", "/nonexistent"), b"File /nonexistent: no such file or directory."),
        (("check", "/"), b"File /: is a directory."),
        (("check", "/dev/zero"), b"is larger than 16 MiB"),
    ],
)
def test_what_cannot_be_read_is_bad_input(words: tuple[str, ...], said: bytes) -> None:
    ended = imgforge(*words)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_too_much_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(SCRIPT + b"#" * 20000)
    ended = imgforge("make", tmp_path / "large", "-o", tmp_path / "out")
    assert ended.returncode == 2
    assert b"at most 16384" in ended.stderr
    assert b"--gzip makes it" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_launch_takes_no_more_than_ec2(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"#" * 16385)
    words = ("launch", "ami-0123456789abcdef0", "--user-data", str(tmp_path / "large"))
    command = [sys.executable, "-m", "imgforge", *words]
    ended = subprocess.run(command, capture_output=True, timeout=60)
    assert ended.returncode == 2
    assert b"16385 bytes, where EC2 takes at most 16384" in ended.stderr
