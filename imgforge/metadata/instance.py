"""What the metadata service knows of one instance."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime

from imgforge.errors import FieldError
from imgforge.metadata.address import (
    require_ipv4,
    require_ipv4_network,
    require_ipv4_networks,
    require_ipv4s,
    require_ipv6_networks,
    require_ipv6s,
    require_mac,
)
from imgforge.metadata.event import (
    IamRole,
    LifeCycle,
    MaintenanceEvent,
    SpotNotice,
    TargetLifecycleState,
)
from imgforge.metadata.options import Access, MetadataOptions
from imgforge.metadata.region import is_region, is_zone, zone_id
from imgforge.partition import partition_of
from imgforge.user_data_limit import excess

# What DHCP hands out (imgforge/machine/subnet.py): EC2's own subnets are smaller, a false mask
# would be worse.
_SUBNET = "168.0.0.0/5"
# What stands in a listing of its own line and in a path: neither a slash nor a line's end.
_NAME = re.compile(r"(?!\.{1,2}\Z)[^/\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NOT_SHOWN = "a name in the metadata has no slash and one line, and is not . or ..: {!r}"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Fields whose values answer as they are, on as many lines as they have.
_TEXTS = frozenset({"public_keys", "tags", "elastic_gpus", "elastic_inference"})
_ZONE_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
_TAG_KEY = re.compile(r"(?!(?:\.|\.\.|_index)$)[A-Za-z0-9+\-=.,_:@]{1,128}")
_BLOCK_DEVICE = re.compile(r"ami|root|swap|(?:ebs|ephemeral)[0-9]+")
# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html: those before it.
_XEN_FAMILIES = re.compile(r"(t[12]|m[1-4]|c[134]|r[34]|x1e?|d2|h1|i[23]|f1|g[23]|p[23])\.")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an instance stands within its zone; "" and None for what does not apply.

    Raises ValueError for a partition before the first.
    """

    group_name: str = ""
    host_id: str = ""
    partition_number: int | None = None

    def __post_init__(self) -> None:
        if self.partition_number is not None:
            _require_number(self.partition_number, "partition_number", least=1)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: `device_number` 1 is eth1; "" is for what is to follow the instance.

    Addresses are as text, networks in CIDR form. Each public address belongs to the private one
    at its place. Raises ValueError for what is no address, network or number.
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

    def __post_init__(self) -> None:
        require_mac(self.mac_address, "mac_address")
        _require_number(self.device_number, "device_number")
        if self.network_card_index is not None:
            _require_number(self.network_card_index, "network_card_index")
        require_ipv4s(self.local_ipv4s, "local_ipv4s")
        require_ipv4s(self.public_ipv4s, "public_ipv4s")
        require_ipv6s(self.ipv6s, "ipv6s")
        require_ipv4_network(self.subnet_ipv4_cidr_block, "subnet_ipv4_cidr_block")
        for name in ("vpc_ipv4_cidr_blocks", "ipv4_prefixes"):
            require_ipv4_networks(getattr(self, name), name)
        for name in ("subnet_ipv6_cidr_blocks", "vpc_ipv6_cidr_blocks", "ipv6_prefixes"):
            require_ipv6_networks(getattr(self, name), name)

    @property
    def place(self) -> tuple[int, int]:
        """Its network card, and its number among the interfaces of that card."""
        return self.network_card_index or 0, self.device_number


@dataclass(frozen=True, slots=True)
class Instance:
    """The description that every metadata answer comes from.

    Ids have EC2's form (`i-`, `ami-`, `r-` and 8 or 17 hexadecimal digits). `public_keys` maps a
    key pair's name to its line as in authorized_keys(5), in the order of their index.
    `block_devices` is `block-device-mapping/`: ami, root, swap, ebsN and ephemeralN to device
    names. `pending_time` is the launch, in UTC, as the identity document shows it. The first
    interface is made of `mac_address`, `local_ipv4`, `public_ipv4` and `ipv6s`;
    `further_interfaces` come after it. `elastic_gpus` and `elastic_inference` map an id to the
    JSON text it answers with. `availability_zone` is "" for the region's first;
    `availability_zone_id` is "" where it follows from the zone's name, which that of a Local or
    Wavelength Zone does not. Empty user data is none, as on EC2. Raises ValueError for what no
    listing could show, for what is no region, zone, address or number, and for more user data than
    EC2 takes.
    """

    instance_id: str
    image_id: str
    instance_type: str = "t3.micro"
    public_keys: dict[str, str] = field(default_factory=dict)
    user_data: bytes | None = None
    mac_address: str = "02:00:00:00:00:01"
    local_ipv4: str = "172.31.16.15"
    region: str = "us-east-1"
    availability_zone: str = ""
    availability_zone_id: str = ""
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
        self._require_place()
        self._require_interfaces()
        self._require_texts()
        _require_number(self.launch_index, "launch_index")
        for name in self.block_devices:
            if not _BLOCK_DEVICE.fullmatch(name):
                message = f"no virtual device of a block device mapping: {name!r}"
                raise FieldError(message, "block_devices", name)
        if self.options.instance_metadata_tags is Access.ENABLED:
            for key in self.tags:
                if not _TAG_KEY.fullmatch(key):
                    raise FieldError(f"a tag that the metadata cannot show: {key!r}", "tags", key)

    def _require_texts(self) -> None:
        """Raise FieldError for a text that no answer, or no line of one, could hold."""
        for text, place in _texts(self, ()):
            if _SURROGATE.search(text):
                raise FieldError(f"a text that is no Unicode: {text!r}", *place)
            if place[0] not in _TEXTS and _CONTROL.search(text):
                raise FieldError(f"a text in the metadata has one line: {text!r}", *place)

    def _require_place(self) -> None:
        """Raise FieldError for no region, no zone of it, and a zone's id that nothing tells."""
        if not is_region(self.region):
            raise FieldError(
                f"a region is as us-east-1, us-gov-west-1 or mx-central-1: {self.region!r}",
                "region",
            )
        if not is_zone(self.zone, self.region):
            form = f"{self.region}a, {self.region}-bos-1a or {self.region}-wl1-bos-wlz-1"
            message = f"a zone of the region is as {form}: {self.zone!r}"
            raise FieldError(message, "availability_zone")
        if not self.zone_id:
            raise FieldError(
                "its availability_zone_id has to be given, as use1-bos1-az1: a Local or "
                f"Wavelength Zone's name does not tell it: {self.zone!r}",
                "availability_zone",
            )
        if not _ZONE_ID.fullmatch(self.zone_id):
            message = f"a zone's id is as use1-az1: {self.zone_id!r}"
            raise FieldError(message, "availability_zone_id")

    def _require_interfaces(self) -> None:
        """Raise FieldError for what is no address, and what two interfaces cannot both have."""
        require_mac(self.mac_address, "mac_address")
        require_ipv4(self.local_ipv4, "local_ipv4")
        if self.public_ipv4:
            require_ipv4(self.public_ipv4, "public_ipv4")
        require_ipv6s(self.ipv6s, "ipv6s")
        macs = {self.mac_address.lower()}
        places = {(0, 0)}
        for number, interface in enumerate(self.further_interfaces):
            if (mac := interface.mac_address.lower()) in macs:
                message = f"two network interfaces have one MAC address: {mac}"
                raise FieldError(message, "further_interfaces", number, "mac_address")
            if interface.place in places:
                message = "two network interfaces of a network card have one device number"
                raise FieldError(message, "further_interfaces", number, "device_number")
            macs.add(mac)
            places.add(interface.place)

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
        return partition_of(self.region)[0]

    @property
    def domain(self) -> str:
        """The domain of AWS's names in its region."""
        return partition_of(self.region)[1]

    @property
    def zone(self) -> str:
        """The name of its zone."""
        return self.availability_zone or f"{self.region}a"

    @property
    def zone_id(self) -> str:
        """The id of its zone."""
        return self.availability_zone_id or zone_id(self.zone, self.region)

    def interface_id(self, interface: Interface) -> str:
        """Return the id of one of its interfaces: that of eth0 is the instance's own number."""
        if interface.interface_id:
            return interface.interface_id
        if interface.place == (0, 0):
            return f"eni-{self.instance_id.removeprefix('i-')}"
        told = f"{self.instance_id} {interface.place}"
        return f"eni-{hashlib.sha256(told.encode()).hexdigest()[:17]}"

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


def _require_number(number: int, name: str, *, least: int = 0) -> None:
    if number < least:
        raise FieldError(f"it is {least} or more, found {number}", name)


def _texts(
    value: object, place: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield each text that a value holds, with the keys and indexes that lead there."""
    if isinstance(value, str):
        yield value, place
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key, (*place, key)
            yield from _texts(inner, (*place, key))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*place, number))
    elif is_dataclass(value):
        for inner_field in fields(value):
            yield from _texts(getattr(value, inner_field.name), (*place, inner_field.name))
