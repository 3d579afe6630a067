"""KMS, as far as it is asked which key is meant: a courtesy, since EC2 itself decides."""

from imgforge.ec2.answer_form import find_deformity
from imgforge.ec2.cloud import Cloud
from imgforge.ec2.image import Told
from imgforge.ec2.problem import explained
from imgforge.errors import ImgforgeError

_ARN_COLONS = 5  # arn:aws:kms:REGION:ACCOUNT:key/ID
DEFAULT_KEY = "alias/aws/ebs"
"""The account's own key for EBS, which is used where none is named, and cannot be shared."""


def find_key(cloud: Cloud, name: str) -> Told | None:
    """Return the KeyMetadata of a key of the cloud's region, by id, ARN or alias.

    None where KMS does not tell: whoever copies an image need not be allowed to ask for its key.
    """
    try:
        client = cloud.clients.client("kms", cloud.region)
        with explained(f"Key {name}", service="KMS"):
            told = client.describe_key(KeyId=name)
    except ImgforgeError:
        return None
    shape = client.meta.service_model.operation_model("DescribeKey").output_shape
    found: Told | None = told.get("KeyMetadata")
    if find_deformity(told, shape) or not found:
        return None
    return found if str(found.get("Arn")).count(":") >= _ARN_COLONS else None
