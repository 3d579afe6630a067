"""What the metadata service knows of one instance."""

from dataclasses import dataclass, field
from enum import StrEnum


class HttpTokens(StrEnum):
    """Whether the metadata service asks for an IMDSv2 token (EC2's `HttpTokens`)."""

    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Instance:
    """The description that every metadata answer comes from.

    Ids have EC2's form (`i-`, `ami-`, `r-` and 8 or 17 hexadecimal digits). `public_keys` maps a
    key pair's name to its line as in authorized_keys(5), in the order of their index.
    `block_devices` is `block-device-mapping/`: virtual name to device name. `pending_time` is the
    launch, as the identity document shows it.
    """

    instance_id: str
    image_id: str
    instance_type: str = "t3.micro"
    public_keys: dict[str, str] = field(default_factory=dict)
    user_data: bytes | None = None
    mac_address: str = "02:00:00:00:00:01"
    local_ipv4: str = "169.0.2.15"
    region: str = "us-east-1"
    availability_zone: str = "us-east-1a"
    account_id: str = "123456789012"
    reservation_id: str = "r-0123456789abcdef0"
    security_groups: tuple[str, ...] = ("default",)
    block_devices: dict[str, str] = field(
        default_factory=lambda: {"ami": "/dev/sda1", "root": "/dev/sda1"}
    )
    http_tokens: HttpTokens = HttpTokens.OPTIONAL
    pending_time: str = "2024-01-01T00:00:00Z"

    @property
    def hostname(self) -> str:
        """Its private DNS name, as EC2 gives it by its address."""
        is_first = self.region == "us-east-1"
        zone = "ec2.internal" if is_first else f"{self.region}.compute.internal"
        return f"ip-{self.local_ipv4.replace('.', '-')}.{zone}"
