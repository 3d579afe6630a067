"""KMS, as far as it is asked which key is meant: a courtesy, since EC2 itself decides."""

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from imgforge.ec2.cloud import Cloud
from imgforge.ec2.image import Told
from imgforge.errors import ImgforgeError

DEFAULT_KEY = "alias/aws/ebs"
"""The account's own key for EBS, which is used where none is named, and cannot be shared."""


def find_key(cloud: Cloud, name: str) -> Told | None:
    """Return the KeyMetadata of a key of the cloud's region, by id, ARN or alias.

    None where KMS does not tell: whoever copies an image need not be allowed to ask for its key.
    """
    try:
        told = cloud.clients.client("kms", cloud.region).describe_key(KeyId=name)
    except (ClientError, BotoCoreError, HTTPClientError, ImgforgeError):
        return None
    found: Told | None = told.get("KeyMetadata")
    return found if found and found.get("Arn") else None
