"""Several who write at once, to one endpoint: what is unique stays so, and nothing is lost."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.serving import OTHER_ACCOUNT, Serving, code_of, make_snapshot, register

WRITERS = 8


@pytest.fixture(scope="module")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as serving:
        yield serving.client()


def at_once(call: Callable[..., Any], **asked: Any) -> Counter[str]:
    """Return the codes of so many equal requests, sent at once; "" is one that was answered."""
    with ThreadPoolExecutor(WRITERS) as pool:
        calls = [pool.submit(code_of, call, **asked) for _ in range(WRITERS)]
        return Counter(one.result() for one in calls)


def mapped(snapshot_id: str) -> dict[str, Any]:
    return {
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}],
    }


def test_one_of_many_gets_a_name(ec2: Any) -> None:
    codes = at_once(ec2.register_image, Name="wanted", **mapped(make_snapshot(ec2)))
    assert codes == {"": 1, "InvalidAMIName.Duplicate": WRITERS - 1}


def test_one_of_many_copies_gets_a_name(ec2: Any) -> None:
    source = register(ec2, "source", make_snapshot(ec2))
    asked = {"SourceImageId": source, "SourceRegion": "us-east-1", "Name": "a wanted copy"}
    assert at_once(ec2.copy_image, **asked) == {"": 1, "InvalidAMIName.Duplicate": WRITERS - 1}
    again = {**asked, "Name": "by a token", "ClientToken": "t"}
    assert at_once(ec2.copy_image, **again) == {"": WRITERS}
    named = [{"Name": "name", "Values": ["by a token"]}]
    assert len(ec2.describe_images(Owners=["self"], Filters=named)["Images"]) == 1


def test_an_image_goes_once(ec2: Any) -> None:
    image_id = register(ec2, "goes", make_snapshot(ec2))
    codes = at_once(ec2.deregister_image, ImageId=image_id)
    assert codes[""] >= 1
    assert set(codes) <= {"", "InvalidAMIID.Unavailable", "InvalidAMIID.NotFound"}


def test_what_many_add_at_once_is_all_there(ec2: Any) -> None:
    image_id = register(ec2, "tagged", make_snapshot(ec2))
    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(40):
            tags = [{"Key": f"k{number}", "Value": ""}]
            pool.submit(ec2.create_tags, Resources=[image_id], Tags=tags)
            permission = {"Add": [{"UserId": f"{int(OTHER_ACCOUNT) + number}"}]}
            pool.submit(ec2.modify_image_attribute, ImageId=image_id, LaunchPermission=permission)
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    asked = {"ImageId": image_id, "Attribute": "launchPermission"}
    assert len(image["Tags"]) == 40
    assert len(ec2.describe_image_attribute(**asked)["LaunchPermissions"]) == 40
