"""How an instance's metadata service may be used: EC2's metadata options."""

from dataclasses import dataclass
from enum import StrEnum

from imgforge.errors import FieldError

MIN_HOPS = 1
MAX_HOPS = 64


class HttpTokens(StrEnum):
    """Whether the metadata service asks for an IMDSv2 token (EC2's `HttpTokens`).

    "off" is not EC2's: the service as it was before IMDSv2, which knows of no tokens.
    """

    OPTIONAL = "optional"
    REQUIRED = "required"
    OFF = "off"


class Access(StrEnum):
    """Whether something is answered (EC2's `HttpEndpoint` and `InstanceMetadataTags`)."""

    ENABLED = "enabled"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class MetadataOptions:
    """What EC2 calls an instance's metadata options, with its names and its limits.

    `http_put_response_hop_limit` is the IP TTL of the answer that carries a token, 1 to 64. It is
    kept where the service itself has the guest's connection (TCP); what comes through QEMU's user
    network leaves QEMU with a TTL of its own, so that there a container behind the guest's router
    is let through whatever the limit says. Raises ValueError for another limit.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html
    """

    http_tokens: HttpTokens = HttpTokens.OPTIONAL
    http_endpoint: Access = Access.ENABLED
    http_put_response_hop_limit: int = 1
    instance_metadata_tags: Access = Access.DISABLED

    def __post_init__(self) -> None:
        hops = self.http_put_response_hop_limit
        if not MIN_HOPS <= hops <= MAX_HOPS:
            raise FieldError(
                f"the hop limit is {MIN_HOPS} to {MAX_HOPS}, found {hops}",
                "http_put_response_hop_limit",
            )
