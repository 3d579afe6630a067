"""The launch bookmark: a URL that opens EC2's launch wizard with an image chosen."""

import re

from imgforge.errors import BadInputError

_IMAGE_ID = re.compile(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+){1,4}")
# Partitions by the beginnings of their regions' names; where AWS's public documentation has no
# address of a console, "" (docs.aws.amazon.com/general, "AWS Management Console endpoints").
_CONSOLES = (
    ("cn-", "console.amazonaws.cn"),
    ("us-gov-", "console.amazonaws-us-gov.com"),
    ("us-iso", ""),
    ("eu-iso", ""),
    ("eusc-", ""),
    ("", "console.aws.amazon.com"),
)


def launch_bookmark(image_id: str, *, region: str) -> str:
    """Return the URL that launches an image of a region (Guide, "Using Bookmarks").

    Raises BadInputError for what is no image's id or region, or a region without a known console.
    """
    if not _IMAGE_ID.fullmatch(image_id):
        raise BadInputError(
            f"Image {image_id!r}: is no image id; ami- and 8 or 17 hexadecimal digits are needed."
        )
    if not _REGION.fullmatch(region):
        raise BadInputError(
            f"Region {region!r}: is no region's name, such as us-east-1 or eu-west-1."
        )
    console = next(host for beginning, host in _CONSOLES if region.startswith(beginning))
    if not console:
        raise BadInputError(f"Region {region}: its console's address is not known.")
    return f"https://{console}/ec2/v2/home?region={region}#LaunchInstanceWizard:ami={image_id}"
