"""Disks to register, verdicts of them, and `imgforge` as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgforge.acceptance import Verdict, write_verdict
from imgforge.disk import Disk, open_disk
from tests.serving import ACCOUNT

MIB = 2**20
_START_LBA = 2048
# Whatever names an endpoint or a profile on the host that runs the tests is not meant here.
_NOWHERE: Mapping[str, str] = {}
_FOREIGN = ("AWS_", "XDG_", "IMGFORGE_")


def make_disk(path: Path, *, seed: bytes = b"1", size_mib: int = 16) -> Disk:
    """Write a sparse disk with a partition table and boot code: an image that EC2 takes."""
    head = bytearray(512)
    head[:4] = b"\xeb\x63\x90\x00"
    head[446 + 4] = 0x83
    sectors = size_mib * MIB // 512 - _START_LBA
    head[446 + 8 : 446 + 16] = _START_LBA.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    head[510:] = b"\x55\xaa"
    with path.open("wb") as file:
        file.truncate(size_mib * MIB)
        file.write(head)
        for offset in (3 * MIB, 9 * MIB + 512, size_mib * MIB - 512):
            file.seek(offset)
            file.write(seed * 512)
    return open_disk(path)


def accept(disk: Disk, **changes: Any) -> Verdict:
    """Return an accepted verdict of a disk."""
    values = {
        "schema": 1,
        "accepted": True,
        "reason": "it let the key's owner in",
        "disk": {"sha256_before": disk.sha256, "sha256_after": disk.sha256, "layout": None},
        "recipe_sha256": "",
        "lock_sha256": "",
        "accelerator": {"kind": "tcg", "reason": "asked for"},
        "qemu_version": "7.2",
        "seconds": 1.5,
        "sign": None,
        "boot_method": "bios",
        "stages": [],
        "checks": [{"id": "booted", "passed": True, "evidence": "logged in"}],
        "failed_stage": None,
        "created": "2026-01-01T00:00:00Z",
    }
    return Verdict.model_validate({**values, **changes})


def verdict_file(folder: Path, disk: Disk) -> Path:
    """Write an accepted verdict of a disk; return its path."""
    folder.mkdir(exist_ok=True)
    return write_verdict(folder, accept(disk))


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a user whose home is this folder, with nothing configured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **kept,
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "IMGFORGE_CACHE": str(home / "cache"),
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }


def configured(url: str) -> dict[str, str]:
    """Return the variables that name an endpoint, and credentials for it."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "very-secret-word",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def start(home: Path, *words: str | Path, **more: str) -> "subprocess.Popen[str]":
    """Start `imgforge` with these words."""
    return subprocess.Popen(
        [sys.executable, "-m", "imgforge", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, **more),
    )


def run(home: Path, *words: str | Path, code: int = 0, place: Mapping[str, str] = _NOWHERE) -> str:
    """Run `imgforge` to its end, which has this exit code; return stdout, or stderr of a failure.

    No secret is in what it says.
    """
    process = start(home, *words, **place)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "very-secret-word" not in out + err
    assert "Traceback" not in out + err
    return out if code == 0 else err


def ran(home: Path, *words: str | Path, place: Mapping[str, str] = _NOWHERE) -> Any:
    """Run `imgforge … --json`; return what it printed."""
    return json.loads(run(home, *words, "--json", place=place))


def tags_of(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an image or a snapshot as EC2 tells of it."""
    return {one["Key"]: one["Value"] for one in told["Tags"]}
