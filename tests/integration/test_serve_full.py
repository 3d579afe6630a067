"""`imgforge serve` over a file system that has no space left."""

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from imgforge.catalog.contents import block_sha256
from tests.serving import Serving

_MIB = 2**20
_BLOCK_BYTES = 512 * 1024
_ROUNDS = 2000
_ON_SMALL_TMPFS = 'mkdir -p "$1" && mount -t tmpfs -o size=8m tmpfs "$1" && shift && exec "$@"'


def refusal(call: Any, ask: Any) -> tuple[int, str]:
    """Return the status and the code of the first request that is refused for want of space."""
    for number in range(_ROUNDS):
        try:
            call(**ask(number))
        except ClientError as error:
            response = error.response
            break
    else:
        raise AssertionError("nothing was refused")
    assert "no space is left" in response["Error"]["Message"], response
    return int(response["ResponseMetadata"]["HTTPStatusCode"]), str(response["Error"]["Code"])


def block(snapshot_id: str, number: int) -> dict[str, Any]:
    data = os.urandom(_BLOCK_BYTES)
    return {
        "SnapshotId": snapshot_id,
        "BlockIndex": number,
        "BlockData": data,
        "DataLength": _BLOCK_BYTES,
        "Checksum": base64.b64encode(block_sha256(data)).decode(),
        "ChecksumAlgorithm": "SHA256",
    }


def test_a_full_disk_is_told_once_and_in_each_services_words(tmp_path: Path) -> None:
    small = tmp_path / "small"
    shell = ["unshare", "-Urm", "sh", "-c", _ON_SMALL_TMPFS, "sh", str(small)]
    if subprocess.run([*shell, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user and mount namespaces (unshare -Urm) are missing")
    with Serving(small / "catalog", under=shell) as serving:
        ebs, ec2, s3 = (serving.client(name) for name in ("ebs", "ec2", "s3"))
        s3.create_bucket(Bucket="small")
        begun = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
        # The last first: what a block that does not fit took is free again.
        assert refusal(ebs.put_snapshot_block, lambda number: block(begun, number)) == (
            402,
            "ServiceQuotaExceededException",
        )
        big = {"Bucket": "small", "Key": "k", "Body": bytes(8 * _MIB)}
        assert refusal(s3.put_object, lambda _: big) == (400, "ServiceQuotaExceeded")
        tags = [{"Key": f"{number:0127}", "Value": "v" * 255} for number in range(50)]
        volume = {
            "AvailabilityZone": "us-east-1a",
            "Size": 1,
            "TagSpecifications": [{"ResourceType": "volume", "Tags": tags}],
        }
        assert refusal(ec2.create_volume, lambda _: volume) == (400, "ResourceLimitExceeded")
        said = serving.end()
    assert said.count("no space is left") == 1, said
    assert str(small / "catalog") in said
