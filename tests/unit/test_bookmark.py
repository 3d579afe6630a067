"""The launch bookmark, as the guide writes it."""

import pytest

from imgforge.bookmark import launch_bookmark
from imgforge.errors import BadInputError


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "console.aws.amazon.com"),
        ("mx-central-1", "console.aws.amazon.com"),
        ("cn-north-1", "console.amazonaws.cn"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com"),
    ],
)
def test_a_bookmark_is_of_its_partition(region: str, host: str) -> None:
    assert launch_bookmark("ami-12345678", region=region) == (
        f"https://{host}/ec2/v2/home?region={region}#LaunchInstanceWizard:ami=ami-12345678"
    )


@pytest.mark.parametrize(
    ("image_id", "region", "words"),
    [
        ("ami-1", "us-east-1", "no image id"),
        ("aki-12345678", "us-east-1", "no image id"),
        ("ami-12345678\n", "us-east-1", "no image id"),
        ("ami-12345678", "us-east-1#x", "no region"),
        ("ami-12345678", "", "no region"),
        ("ami-12345678", "us-iso-east-1", "not known"),
        ("ami-12345678", "us-isob-east-1", "not known"),
        ("ami-12345678", "eusc-de-east-1", "not known"),
    ],
)
def test_what_has_no_bookmark_is_refused(image_id: str, region: str, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        launch_bookmark(image_id, region=region)
