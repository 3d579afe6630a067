"""RegisterImage from a bundle in S3, on `imgforge serve`: read and verified, or refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.bundle_material import ACCOUNT, Material, identity, make_material, noise
from tests.serving import OTHER_ACCOUNT, Serving, code_of

BUCKET = "my-s3-bucket"
FOLDER = "bundle_folder/bundle_name"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    (folder / "image").write_bytes(noise(11 * 2**20))
    return make_material(folder, folder / "image")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as running:
        yield running


@pytest.fixture(scope="module")
def s3(serving: Serving) -> Any:
    client = serving.client("s3", account=ACCOUNT)
    client.create_bucket(Bucket=BUCKET, ObjectOwnership="ObjectWriter")
    return client


def upload(s3: Any, material: Material, folder: str, *, acl: str = "aws-exec-read") -> str:
    """Put a bundle to S3; return the manifest's location."""
    for path in material.bundle.folder.iterdir():
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/{path.name}", Body=path.read_bytes(), ACL=acl)
    return f"{BUCKET}/{folder}/{material.bundle.manifest_path.name}"


def refused(ec2: Any, location: str, **more: Any) -> str:
    with pytest.raises(ClientError) as caught:
        ec2.register_image(Name="refused", ImageLocation=location, **more)
    error = caught.value.response["Error"]
    assert error["Code"] == "InvalidManifest"
    return str(error["Message"])


def test_a_bundle_is_registered_as_the_guide_says(
    serving: Serving, s3: Any, material: Material
) -> None:
    location = upload(s3, material, FOLDER)
    ec2 = serving.client(account=ACCOUNT)
    asked = {"Name": "AMI_name", "ImageLocation": location, "VirtualizationType": "hvm"}
    image_id = ec2.register_image(**asked)["ImageId"]
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert (image["RootDeviceType"], image["VirtualizationType"]) == ("instance-store", "hvm")
    assert (image["ImageLocation"], image["Architecture"]) == (location, "x86_64")
    assert [one["ImageId"] for one in found(ec2, "manifest-location", f"{BUCKET}/*")] == [image_id]
    assert found(ec2, "root-device-type", "ebs") == []
    copy = {"Name": "copy", "SourceImageId": image_id, "SourceRegion": "us-east-1"}
    assert code_of(ec2.copy_image, **copy, Encrypted=True) == "InvalidParameterCombination"
    ec2.copy_image(**copy)
    ec2.deregister_image(ImageId=image_id)  # and the bundle stays
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=FOLDER)["KeyCount"] > 1
    s3.delete_object(Bucket=BUCKET, Key="unused")


def found(ec2: Any, name: str, value: str) -> list[Any]:
    filters = [{"Name": name, "Values": [value]}]
    return list(ec2.describe_images(Owners=["self"], Filters=filters)["Images"])


def test_what_ec2_may_not_read_is_not_registered(
    serving: Serving, s3: Any, material: Material
) -> None:
    ec2 = serving.client(account=ACCOUNT)
    private = upload(s3, material, "private", acl="private")
    assert "aws-exec-read" in refused(ec2, private)
    location = upload(s3, material, "good")
    assert "NoSuchKey" in refused(ec2, f"{BUCKET}/good/other.manifest.xml")
    assert "NoSuchBucket" in refused(ec2, "no-such-bucket/a.manifest.xml")
    assert "NoSuchBucket" in refused(ec2, BUCKET)
    assert "us-east-1" in refused(serving.client(account=ACCOUNT, region="eu-west-1"), location)
    assert OTHER_ACCOUNT in refused(serving.client(account=OTHER_ACCOUNT), location)
    wrong = {"Name": "arm", "ImageLocation": location, "Architecture": "arm64"}
    assert code_of(ec2.register_image, **wrong) == "InvalidParameterCombination"


def test_a_bundle_that_is_not_whole_is_not_registered(
    serving: Serving, s3: Any, material: Material, tmp_path: Path
) -> None:
    ec2 = serving.client(account=ACCOUNT)
    location = upload(s3, material, "broken")
    part = sorted(path.name for path in material.bundle.folder.glob("*.part.*"))[-1]
    content = (material.bundle.folder / part).read_bytes()
    for wrong in (bytes(len(content)), content[:-1], content + b"x", b""):
        put = {"Bucket": BUCKET, "Key": f"broken/{part}", "ACL": "aws-exec-read"}
        s3.put_object(**put, Body=wrong)
        assert part in refused(ec2, location)
    s3.delete_object(Bucket=BUCKET, Key=f"broken/{part}")
    assert "NoSuchKey" in refused(ec2, location)
    manifest = material.bundle.manifest_path.read_bytes()
    key = location.partition("/")[2]
    for text in (b"", b"<manifest/>", manifest[:-100], b"\xff" * 100, manifest * 2):
        s3.put_object(Bucket=BUCKET, Key=key, Body=text, ACL="aws-exec-read")
        assert "manifest" in refused(ec2, location).lower()


def test_a_signature_is_by_a_certificate_of_the_account(tmp_path: Path, material: Material) -> None:
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        s3, iam = serving.client("s3"), serving.client("iam")
        s3.create_bucket(Bucket=BUCKET, ObjectOwnership="ObjectWriter")
        location = upload(s3, material, FOLDER)
        ec2 = serving.client(account=ACCOUNT)
        iam.create_user(UserName="signer")

        def give(name: str) -> str:
            body = identity(name, tmp_path).certificate_path.read_text()
            given = iam.upload_signing_certificate(UserName="signer", CertificateBody=body)
            return str(given["Certificate"]["CertificateId"])

        give("somebody-else")
        assert "signature" in refused(ec2, location)
        own = give("user")
        wish = {"ImageLocation": location, "VirtualizationType": "hvm"}
        assert ec2.register_image(Name="signed", **wish)["ImageId"]
        iam.update_signing_certificate(UserName="signer", CertificateId=own, Status="Inactive")
        assert "signature" in refused(ec2, location)
