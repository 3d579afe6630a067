"""ImportSnapshot on `imgforge serve`: disk images in S3 become snapshots, or say why not."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgforge.command import run
from tests.bundle_material import noise
from tests.serving import ACCOUNT, Serving, code_of, register

MIB = 2**20
BUCKET = "disk-images"
LIMIT_S = 60
FORMATS = {"RAW": "raw", "VMDK": "vmdk", "VHD": "vpc"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    with path.open("wb") as file:
        file.write(noise(MIB))
        file.seek(20 * MIB)
        file.write(noise(MIB))
        file.truncate(64 * MIB)
    return path


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        running.client("s3").create_bucket(Bucket=BUCKET)
        yield running


def put(serving: Serving, key: str, content: bytes) -> dict[str, str]:
    serving.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content)
    return {"S3Bucket": BUCKET, "S3Key": key}


def ended(ec2: Any, task_id: str) -> Any:
    """Return how an import ended."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        [task] = ec2.describe_import_snapshot_tasks(ImportTaskIds=[task_id])["ImportSnapshotTasks"]
        if task["SnapshotTaskDetail"]["Status"] != "active":
            return task["SnapshotTaskDetail"]
        time.sleep(0.1)
    raise AssertionError(f"{task_id} did not end within {LIMIT_S} s: {task}")


def start(ec2: Any, kind: str, where: dict[str, str], **more: Any) -> str:
    container = {"Format": kind, "UserBucket": where}
    return str(ec2.import_snapshot(DiskContainer=container, **more)["ImportTaskId"])


def blocks_sha256(serving: Serving, snapshot_id: str) -> str:
    """Return the SHA-256 of the first 64 MiB that EBS direct gives."""
    ebs = serving.client("ebs")
    content = bytearray(64 * MIB)
    listed = ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    for block in listed["Blocks"]:
        number = block["BlockIndex"]
        got = ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=number, BlockToken=block["BlockToken"]
        )
        content[number * 2**19 : (number + 1) * 2**19] = got["BlockData"].read()
    return hashlib.sha256(content[: 64 * MIB]).hexdigest()


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_becomes_a_snapshot_of_the_same_data(
    serving: Serving, disk: Path, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "file"
    options = ["-o", "subformat=streamOptimized"] if kind == "VMDK" else []
    run("qemu-img", ["convert", "-f", "raw", "-O", FORMATS[kind], *options, disk, file])
    where = put(serving, f"disk {kind}", file.read_bytes())
    ec2 = serving.client()
    done = ended(ec2, start(ec2, kind, where, Description="of a test"))
    assert (done["Status"], done["Format"], done["UserBucket"]) == ("completed", kind, where)
    [shown] = ec2.describe_snapshots(SnapshotIds=[done["SnapshotId"]])["Snapshots"]
    assert (shown["State"], shown["VolumeSize"], shown["Encrypted"]) == ("completed", 1, False)
    expected = hashlib.sha256(disk.read_bytes()).hexdigest()
    assert blocks_sha256(serving, done["SnapshotId"]) == expected
    register(ec2, f"imported {kind}", done["SnapshotId"])


@pytest.mark.parametrize(
    "url",
    [
        f"s3://{BUCKET}/by url",
        f"https://{BUCKET}.s3.amazonaws.com/by%20url",
        f"https://s3.us-east-1.amazonaws.com/{BUCKET}/by%20url",
    ],
)
def test_an_object_is_named_by_its_url(serving: Serving, url: str) -> None:
    put(serving, "by url", noise(MIB))
    ec2 = serving.client()
    made = ec2.import_snapshot(DiskContainer={"Format": "raw", "Url": url}, Encrypted=True)
    done = ended(ec2, made["ImportTaskId"])
    assert (done["Status"], done["Url"], done["Encrypted"]) == ("completed", url, True)


def test_what_is_no_disk_image_fails_with_a_reason(serving: Serving, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of this host" * 1000)
    lines = ("# Disk DescriptorFile", "version=1", "CID=1", "parentCID=ffffffff")
    more = ('createType="monolithicFlat"', f'RW 20 FLAT "{secret}" 0', "")
    stolen = "\n".join((*lines, *more))
    head = b"KDMV" + (1).to_bytes(4, "little") * 2 + bytes(16) + (1).to_bytes(8, "little") * 2
    ec2 = serving.client()
    for name, kind, content in (
        ("empty", "RAW", b""),
        ("noise", "VHD", noise(MIB)),
        ("noise", "VMDK", noise(MIB)),
        ("descriptor", "VMDK", stolen.encode()),
        ("hidden", "VMDK", head.ljust(512, b"\0") + stolen.encode().ljust(512, b"\0")),
    ):
        done = ended(ec2, start(ec2, kind, put(serving, name, content)))
        assert done["Status"] == "deleted", name
        assert done["StatusMessage"].startswith("ClientError: Disk validation failed ["), name
        assert "SnapshotId" not in done


def test_what_cannot_be_had_is_refused_at_once(serving: Serving) -> None:
    ec2 = serving.client()
    where = put(serving, "there", noise(MIB))

    def refused(**more: Any) -> str:
        return code_of(ec2.import_snapshot, **more)

    assert refused() == "MissingParameter"
    assert (
        refused(DiskContainer={"Format": "raw", "Url": "http://example.com/x"})
        == "MissingParameter"
    )
    assert refused(DiskContainer={"Format": "ova", "UserBucket": where}) == "InvalidParameter"
    absent = {"S3Bucket": BUCKET, "S3Key": "absent"}
    assert refused(DiskContainer={"Format": "raw", "UserBucket": absent}) == "InvalidParameter"
    other = serving.client(region="eu-west-1")
    elsewhere = {"Format": "raw", "UserBucket": where}
    assert code_of(other.import_snapshot, DiskContainer=elsewhere) == "InvalidParameter"
    unknown = {"Encrypted": True, "KmsKeyId": "alias/unknown"}
    done = ended(ec2, start(ec2, "RAW", where, **unknown))
    assert done["StatusMessage"] == "ClientError: Given key ID is not accessible"


def test_a_cancelled_import_makes_no_snapshot(serving: Serving) -> None:
    ec2 = serving.client()
    task_id = start(ec2, "RAW", put(serving, "large", os.urandom(40 * MIB)))
    code = code_of(ec2.cancel_import_task, ImportTaskId=task_id, CancelReason="no more")
    done = ended(ec2, task_id)
    assert (code, done["Status"]) in {("", "deleted"), ("IncorrectState", "completed")}
    assert code_of(ec2.cancel_import_task, ImportTaskId=task_id) == "IncorrectState"


def test_an_import_goes_on_after_a_kill(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    serving = Serving(catalog, "--latency", "0s")
    serving.client("s3").create_bucket(Bucket=BUCKET)
    tasks = [
        start(serving.client(), "RAW", put(serving, f"large {n}", os.urandom(8 * MIB)))
        for n in range(3)
    ]
    serving.kill()
    with Serving(catalog, "--latency", "0s") as again:
        ended_all = [ended(again.client(), task_id) for task_id in tasks]
        assert [one["Status"] for one in ended_all] == ["completed"] * 3
        snapshots = again.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]
        assert len(snapshots) == 3


def test_the_real_cli_imports_a_disk(serving: Serving, tmp_path: Path) -> None:
    def aws(*words: str) -> Any:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": serving.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        program = Path(sys.executable).with_name("aws")
        done = subprocess.run([program, *words], env=environment, capture_output=True, check=True)
        return json.loads(done.stdout)

    put(serving, "cli.raw", noise(MIB))
    container = {"Format": "RAW", "UserBucket": {"S3Bucket": BUCKET, "S3Key": "cli.raw"}}
    made = aws("ec2", "import-snapshot", "--disk-container", json.dumps(container))
    ended(serving.client(), made["ImportTaskId"])
    [shown] = aws("ec2", "describe-import-snapshot-tasks")["ImportSnapshotTasks"][-1:]
    assert shown["SnapshotTaskDetail"]["Status"] == "completed"
