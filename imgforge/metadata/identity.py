"""`dynamic/`: the instance identity document, what it is signed with, and monitoring.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
"""

from collections.abc import Iterator
from functools import cache

from imgforge.metadata.instance import Instance
from imgforge.metadata.leaf import Leaf, json_text, same
from imgforge.metadata.signer import Signer

_FORMAT = "2017-09-30"
_FOLDER = "dynamic/instance-identity"


def dynamic_leaves(instance: Instance, signer: Signer | None) -> Iterator[Leaf]:
    """Yield what stands below `dynamic/`; signatures only with a signer.

    They are made when they are first asked for: few guests do, and each takes a millisecond.
    Then they stay as they are, with the time that they were signed at.
    """
    document = identity_document(instance)
    yield same("dynamic/fws/instance-monitoring", instance.detailed_monitoring.value)
    yield same(f"{_FOLDER}/document", document)
    if signer is not None:
        pkcs7 = cache(lambda: signer.sign_pkcs7(document))
        yield same(f"{_FOLDER}/pkcs7", pkcs7)
        yield same(f"{_FOLDER}/rsa2048", pkcs7)
        yield same(f"{_FOLDER}/signature", cache(lambda: signer.sign(document)))


def identity_document(instance: Instance) -> str:
    """Return the document, byte for byte as it is signed."""
    codes = list(instance.product_codes) or None
    return json_text(
        {
            "accountId": instance.account_id,
            "architecture": "x86_64",
            "availabilityZone": instance.zone,
            "billingProducts": None,
            "devpayProductCodes": None,
            "marketplaceProductCodes": codes,
            "imageId": instance.image_id,
            "instanceId": instance.instance_id,
            "instanceType": instance.instance_type,
            "kernelId": instance.kernel_id or None,
            "pendingTime": instance.pending_time,
            "privateIp": instance.local_ipv4,
            "ramdiskId": instance.ramdisk_id or None,
            "region": instance.region,
            "version": _FORMAT,
        }
    )
