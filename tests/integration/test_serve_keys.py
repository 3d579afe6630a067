"""KMS, IAM and STS of `imgforge serve`, and what EC2 makes of keys."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import HTTPClientError

from tests.serving import ACCOUNT, OTHER_ACCOUNT, Serving, code_of, make_snapshot, register


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def ec2(serving: Serving) -> Any:
    return serving.client()


@pytest.fixture(scope="module")
def kms(serving: Serving) -> Any:
    return serving.client("kms")


def make_key(kms: Any, **more: Any) -> str:
    return str(kms.create_key(Description="for tests", **more)["KeyMetadata"]["Arn"])


def snapshot(ec2: Any, snapshot_id: str) -> Any:
    [found] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    return found


def test_a_copy_is_encrypted_with_a_key_by_its_arn_id_or_alias(ec2: Any, kms: Any) -> None:
    arn = make_key(kms)
    kms.create_alias(AliasName="alias/mine", TargetKeyId=arn)
    source = make_snapshot(ec2)
    alias_arn = arn.partition("key/")[0] + "alias/mine"
    for name in (arn, arn.rpartition("/")[2], "alias/mine", alias_arn):
        made = ec2.copy_snapshot(
            SourceSnapshotId=source, SourceRegion="us-east-1", Encrypted=True, KmsKeyId=name
        )
        found = snapshot(ec2, made["SnapshotId"])
        assert (found["State"], found["KmsKeyId"]) == ("completed", arn)


@pytest.mark.parametrize("kind", ["unknown", "disabled", "asymmetric", "scheduled", "elsewhere"])
def test_a_key_that_cannot_be_used_is_refused_or_fails_later(
    serving: Serving, ec2: Any, kms: Any, kind: str
) -> None:
    match kind:
        case "unknown":
            key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-4333-8444-555555555555"
        case "disabled":
            key = make_key(kms)
            kms.disable_key(KeyId=key)
        case "asymmetric":
            key = make_key(kms, KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")
        case "scheduled":
            key = make_key(kms)
            kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        case _:
            there = make_key(serving.client("kms", region="eu-west-1"))
            key = there.rpartition("/")[2]
    source = make_snapshot(ec2)
    wish = {"SourceRegion": "us-east-1", "Encrypted": True, "KmsKeyId": key}
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, Encrypted=True, KmsKeyId=key)[
        "VolumeId"
    ]
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "error"
    image_id = register(ec2, f"of {kind}", source)
    if kind not in {"unknown", "elsewhere"}:
        refused = {code_of(ec2.copy_snapshot, SourceSnapshotId=source, **wish)}
        refused.add(code_of(ec2.copy_image, SourceImageId=image_id, Name="no copy", **wish))
        assert refused == {"InvalidParameterValue"}
        return
    made = ec2.copy_snapshot(SourceSnapshotId=source, **wish)["SnapshotId"]
    found = snapshot(ec2, made)
    assert found["State"] == "error"
    assert found["StateMessage"].startswith("Given key ID is not")
    copy = ec2.copy_image(SourceImageId=image_id, Name=f"copy of {kind}", **wish)["ImageId"]
    [image] = ec2.describe_images(ImageIds=[copy])["Images"]
    assert image["State"] == "failed"
    assert image["StateReason"]["Message"] == "Copy image failed with an internal error."
    again = {"SourceImageId": copy, "SourceRegion": "us-east-1", "Name": "again"}
    assert code_of(ec2.copy_image, **again) == "InvalidAMIID.Unavailable"


def test_the_key_that_ebs_takes_itself_is_one_of_kms(ec2: Any, kms: Any) -> None:
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, Encrypted=True)
    key = kms.describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert key["Arn"] == volume["KmsKeyId"]
    assert key["KeyManager"] == "AWS"
    names = [alias["AliasName"] for alias in kms.list_aliases()["Aliases"]]
    assert "alias/aws/ebs" in names


def test_who_asks_is_told(serving: Serving) -> None:
    for account in (ACCOUNT, OTHER_ACCOUNT):
        who = serving.client("sts", account=account).get_caller_identity()
        assert who["Account"] == account
        assert who["Arn"] == f"arn:aws:iam::{account}:root"
    who = serving.client("sts", account="AKIAXXXXXXXXXXXXXXXX").get_caller_identity()
    assert who["Account"] == ACCOUNT


def test_accounts_and_regions_have_keys_of_their_own(serving: Serving, kms: Any) -> None:
    arn = make_key(kms)
    assert code_of(
        serving.client("kms", region="eu-west-1").describe_key, KeyId=arn.rpartition("/")[2]
    )
    other = serving.client("kms", account=OTHER_ACCOUNT)
    assert all(key["KeyArn"] != arn for key in other.list_keys()["Keys"])


def test_what_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    with Serving(catalog) as serving:
        kms, iam = serving.client("kms"), serving.client("iam")
        sealed = []
        for spec in ("SYMMETRIC_DEFAULT", "RSA_2048", "ECC_NIST_P256"):
            usage = "ENCRYPT_DECRYPT" if spec == "SYMMETRIC_DEFAULT" else "SIGN_VERIFY"
            sealed.append(make_key(kms, KeySpec=spec, KeyUsage=usage))
        secret = kms.encrypt(KeyId=sealed[0], Plaintext=b"what")["CiphertextBlob"]
        iam.create_user(UserName="somebody")
        serving.kill()
    assert (catalog / "moto" / "state.pickle").stat().st_mode & 0o77 == 0
    with Serving(catalog) as serving:
        kms = serving.client("kms")
        assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"what"
        assert kms.get_public_key(KeyId=sealed[1])["PublicKey"]
        assert kms.sign(KeyId=sealed[2], Message=b"m", SigningAlgorithm="ECDSA_SHA_256")[
            "Signature"
        ]
        names = [one["UserName"] for one in serving.client("iam").list_users()["Users"]]
        assert names == ["somebody"]


def test_two_servers_over_one_catalog_see_the_same_keys(tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog") as first, Serving(tmp_path / "catalog") as second:
        made: list[str] = []
        threads = [
            threading.Thread(
                target=lambda one=one: made.extend(make_key(one.client("kms")) for _ in range(5))
            )
            for one in (first, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        keys = {key["KeyArn"] for key in first.client("kms").list_keys()["Keys"]}
        assert len(made) == 10
        assert set(made) <= keys


def test_a_state_that_is_no_record_of_motos_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "catalog" / "moto"
    folder.mkdir(parents=True)
    (folder / "state.pickle").write_bytes(
        b"cos\nsystem\n(S'echo bad > " + str(tmp_path / "ran").encode() + b"'\ntR."
    )
    serving = Serving(tmp_path / "catalog")
    assert code_of(serving.client("kms").list_keys) == "InternalError"
    assert "cannot be read" in serving.end()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        ("throttle", ["ThrottlingException", "Throttling", "ThrottlingException", "SlowDown"]),
        ("denied", ["AccessDeniedException", "AccessDenied"] * 2),
        (
            "error",
            [
                "InternalServerException",
                "InternalFailure",
                "InternalServerException",
                "InternalError",
            ],
        ),
    ],
)
def test_each_service_gets_wrong_what_it_is_told_to(
    tmp_path: Path, fault: str, codes: list[str]
) -> None:
    calls = [
        ("kms", "list_keys"),
        ("iam", "list_users"),
        ("rbin", "list_rules"),
        ("s3", "list_buckets"),
    ]
    names = ("ListKeys", "ListUsers", "ListRules", "ListBuckets")
    options = [word for name in names for word in ("--fault", f"{fault}:{name}@1")]
    with Serving(tmp_path / "catalog", *options) as serving:
        found, again = [], []
        for service, name in calls:
            call = getattr(serving.client(service), name)
            more = {"ResourceType": "EC2_IMAGE"} if service == "rbin" else {}
            found.append(code_of(call, **more))
            again.append(code_of(call, **more))
        assert found == codes
        assert again == ["", "", "", ""]


def test_a_connection_is_cut_and_what_was_asked_is_done(tmp_path: Path) -> None:
    options = ("--fault", "cut-after:CreateBucket@1", "--fault", "cut-after:CreateKey@1")
    with Serving(tmp_path / "catalog", *options) as serving:
        s3, kms = serving.client("s3"), serving.client("kms")
        with pytest.raises(HTTPClientError):
            s3.create_bucket(Bucket="bucket")
        with pytest.raises(HTTPClientError):
            kms.create_key()
        assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == ["bucket"]
        assert len(kms.list_keys()["Keys"]) == 2  # with the one of EBS


def test_the_real_cli_makes_a_key_and_names_the_caller(serving: Serving, tmp_path: Path) -> None:
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

    key = aws("kms", "create-key")["KeyMetadata"]
    assert aws("kms", "describe-key", "--key-id", key["KeyId"])["KeyMetadata"]["Enabled"] is True
    assert aws("sts", "get-caller-identity")["Account"] == ACCOUNT
