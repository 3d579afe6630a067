"""What the metadata service knows of one instance."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from imgforge.errors import FieldError
from imgforge.metadata.event import (
    IamRole,
    LifeCycle,
    MaintenanceEvent,
    SpotNotice,
    TargetLifecycleState,
)
from imgforge.metadata.options import Access, MetadataOptions
from imgforge.user_data_limit import excess

# What DHCP hands out (imgforge/machine/subnet.py): EC2's own subnets are smaller, a false mask
# would be worse.
_SUBNET = "168.0.0.0/5"
# What stands in a listing of its own line and in a path: neither a slash nor a line's end.
_NAME = re.compile(r"[^/\x00-\x1f\x7f]+")
_NOT_SHOWN = "a name in the metadata has no slash and one line: {!r}"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
_TAG_KEY = re.compile(r"(?!(?:\.|\.\.|_index)$)[A-Za-z0-9+\-=.,_:@]{1,128}")
_BLOCK_DEVICE = re.compile(r"ami|root|swap|(?:ebs|ephemeral)[0-9]+")
# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html: those before it.
_XEN_FAMILIES = re.compile(r"(t[12]|m[1-4]|c[134]|r[34]|x1e?|d2|h1|i[23]|f1|g[23]|p[23])\.")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance stands within its zone; "" and None for what does not apply."""

    group_name: str = ""
    host_id: str = ""
    partition_number: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: `device_number` 1 is eth1; "" is for what is to follow the instance.

    Addresses are as text, networks in CIDR form. Each public address belongs to the private one
    at its place.
    """

    mac_address: str
    device_number: int
    local_ipv4s: tuple[str, ...] = ()
    ipv6s: tuple[str, ...] = ()
    public_ipv4s: tuple[str, ...] = ()
    interface_id: str = ""
    subnet_id: str = ""
    vpc_id: str = ""
    subnet_ipv4_cidr_block: str = _SUBNET
    subnet_ipv6_cidr_blocks: tuple[str, ...] = ()
    vpc_ipv4_cidr_blocks: tuple[str, ...] = (_SUBNET,)
    vpc_ipv6_cidr_blocks: tuple[str, ...] = ()
    network_card_index: int | None = None
    ipv4_prefixes: tuple[str, ...] = ()
    ipv6_prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """The description that every metadata answer comes from.

    Ids have EC2's form (`i-`, `ami-`, `r-` and 8 or 17 hexadecimal digits). `public_keys` maps a
    key pair's name to its line as in authorized_keys(5), in the order of their index.
    `block_devices` is `block-device-mapping/`: ami, root, swap, ebsN and ephemeralN to device
    names. `pending_time` is the launch, in UTC, as the identity document shows it. The first
    interface is made of `mac_address`, `local_ipv4`, `public_ipv4` and `ipv6s`;
    `further_interfaces` come after it. `elastic_gpus` and `elastic_inference` map an id to the
    JSON text it answers with. Raises ValueError for what no listing could show,
    and for more user data than EC2 takes.
    """

    instance_id: str
    image_id: str
    instance_type: str = "t3.micro"
    public_keys: dict[str, str] = field(default_factory=dict)
    user_data: bytes | None = None
    mac_address: str = "02:00:00:00:00:01"
    local_ipv4: str = "172.31.16.15"
    region: str = "us-east-1"
    availability_zone: str = "us-east-1a"
    account_id: str = "123456789012"
    reservation_id: str = "r-0123456789abcdef0"
    security_groups: tuple[str, ...] = ("default",)
    security_group_ids: tuple[str, ...] = ("sg-0123456789abcdef0",)
    block_devices: dict[str, str] = field(
        default_factory=lambda: {"ami": "/dev/sda1", "root": "/dev/sda1"}
    )
    pending_time: str = "2024-01-01T00:00:00Z"
    options: MetadataOptions = field(default_factory=MetadataOptions)
    public_ipv4: str = ""
    ipv6s: tuple[str, ...] = ()
    further_interfaces: tuple[Interface, ...] = ()
    placement: Placement = field(default_factory=Placement)
    tags: dict[str, str] = field(default_factory=dict)
    iam_role: IamRole | None = None
    life_cycle: LifeCycle = LifeCycle.ON_DEMAND
    launch_index: int = 0
    manifest_path: str = "(unknown)"
    ancestor_ami_ids: tuple[str, ...] = ()
    product_codes: tuple[str, ...] = ()
    kernel_id: str = ""
    ramdisk_id: str = ""
    instance_action: str = "none"
    detailed_monitoring: Access = Access.DISABLED
    target_lifecycle_state: TargetLifecycleState | None = None
    maintenance_events: tuple[MaintenanceEvent, ...] = ()
    rebalance_notice_time: str = ""
    spot_notice: SpotNotice | None = None
    elastic_gpus: dict[str, str] = field(default_factory=dict)
    elastic_inference: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.launched
        if wrong := excess(self.user_data or b""):
            raise FieldError(wrong, "user_data")
        self._require_names()
        for name in self.block_devices:
            if not _BLOCK_DEVICE.fullmatch(name):
                message = f"no virtual device of a block device mapping: {name!r}"
                raise FieldError(message, "block_devices", name)
        if self.options.instance_metadata_tags is Access.ENABLED:
            for key in self.tags:
                if not _TAG_KEY.fullmatch(key):
                    raise FieldError(f"a tag that the metadata cannot show: {key!r}", "tags", key)
        macs = {self.mac_address.lower()}
        for number, interface in enumerate(self.further_interfaces):
            if (mac := interface.mac_address.lower()) in macs:
                message = f"two network interfaces have one MAC address: {mac}"
                raise FieldError(message, "further_interfaces", number, "mac_address")
            macs.add(mac)

    def _require_names(self) -> None:
        """Raise FieldError for a name that no line of a listing could show."""
        places: list[tuple[str, str]] = [
            *(("public_keys", name) for name in self.public_keys),
            *(("elastic_gpus", name) for name in self.elastic_gpus),
            *(("elastic_inference", name) for name in self.elastic_inference),
        ]
        for field_name, name in places:
            if not _NAME.fullmatch(name):
                raise FieldError(_NOT_SHOWN.format(name), field_name, name)
        if self.iam_role and not _NAME.fullmatch(self.iam_role.name):
            raise FieldError(_NOT_SHOWN.format(self.iam_role.name), "iam_role", "name")

    @property
    def launched(self) -> datetime:
        """When it was launched, in UTC. Raises ValueError where `pending_time` is no such time."""
        try:
            return datetime.strptime(self.pending_time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise FieldError(
                f"a time is as in 2024-01-01T00:00:00Z: {self.pending_time!r}", "pending_time"
            ) from None

    @property
    def hostname(self) -> str:
        """Its private DNS name, as EC2 gives it by its address."""
        return self.private_name(self.local_ipv4)

    def private_name(self, address: str) -> str:
        """Return the private DNS name of an IPv4 address in its region."""
        is_first = self.region == "us-east-1"
        zone = "ec2.internal" if is_first else f"{self.region}.compute.internal"
        return f"ip-{address.replace('.', '-')}.{zone}"

    def public_name(self, address: str) -> str:
        """Return the public DNS name of an IPv4 address in its region."""
        zone = "compute-1" if self.region == "us-east-1" else f"{self.region}.compute"
        return f"ec2-{address.replace('.', '-')}.{zone}.{self.domain}"

    @property
    def partition(self) -> str:
        """The partition of AWS that its region is in."""
        first = self.region.partition("-")[0]
        if self.region.startswith("us-gov-"):
            return "aws-us-gov"
        return "aws-cn" if first == "cn" else "aws"

    @property
    def domain(self) -> str:
        """The domain of AWS's names in its region."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def availability_zone_id(self) -> str:
        """The zone's id, as "use1-az1" for us-east-1a: here letters and numbers run alike."""
        area, *sides, number = self.region.split("-")
        compass = re.compile("north|south|east|west|central|gov")
        short = "".join(word[0] for word in compass.findall("".join(sides)))
        letter = self.availability_zone.removeprefix(self.region)[:1] or "a"
        return f"{area}{short}{number}-az{ord(letter) - ord('a') + 1}"

    @property
    def system(self) -> str:
        """What virtualizes it on EC2: "xen" or "nitro", by its type."""
        return "xen" if _XEN_FAMILIES.match(self.instance_type) else "nitro"

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """All its network interfaces, eth0 first."""
        first = Interface(
            self.mac_address,
            0,
            local_ipv4s=(self.local_ipv4,),
            ipv6s=self.ipv6s,
            public_ipv4s=(self.public_ipv4,) if self.public_ipv4 else (),
        )
        return (first, *self.further_interfaces)
