"""Every category of EC2's documentation: since when it is there, and when it is here.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
Parts that are an instance's own are named as there: mac, N, role-name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

BEGIN = "<!-- categories: made by scripts/readme-categories, do not edit -->"
END = "<!-- end of categories -->"
_MAC = "meta-data/network/interfaces/macs/mac"


@dataclass(frozen=True, slots=True)
class Category:
    """A category: its path below a version, the version it came with, what an instance needs.

    `needs` is "" for what every instance has.
    """

    path: str
    since: str
    needs: str = ""


_META_DATA = (
    Category("ami-id", "1.0"),
    Category("ami-launch-index", "1.0"),
    Category("ami-manifest-path", "1.0"),
    Category("ancestor-ami-ids", "2007-10-10", "`ancestor_ami_ids`"),
    Category("autoscaling/target-lifecycle-state", "2021-07-15", "`target_lifecycle_state`"),
    Category("block-device-mapping/ami", "2007-12-15"),
    Category("block-device-mapping/ebsN", "2007-12-15", "an EBS volume"),
    Category("block-device-mapping/ephemeralN", "2007-12-15", "an instance store volume"),
    Category("block-device-mapping/root", "2007-12-15"),
    Category("block-device-mapping/swap", "2007-12-15", "a swap volume"),
    Category("elastic-gpus/associations/elastic-gpu-id", "2016-11-30", "`elastic_gpus`"),
    Category("elastic-inference/associations/eia-id", "2018-11-29", "`elastic_inference`"),
    Category("events/maintenance/history", "2018-08-17"),
    Category("events/maintenance/scheduled", "2018-08-17"),
    Category("events/recommendations/rebalance", "2020-10-27", "`rebalance_notice_time`"),
    Category("hostname", "1.0"),
    Category("iam/info", "2012-01-12", "an IAM role"),
    Category("iam/security-credentials/role-name", "2012-01-12", "an IAM role"),
    Category("identity-credentials/ec2/info", "2018-05-23"),
    Category("identity-credentials/ec2/security-credentials/ec2-instance", "2018-05-23"),
    Category("instance-action", "2008-09-01"),
    Category("instance-id", "1.0"),
    Category("instance-life-cycle", "2019-10-01"),
    Category("instance-type", "2007-08-29"),
    Category("ipv6", "2021-01-03", "an IPv6 address"),
    Category("kernel-id", "2008-02-01", "`kernel_id`"),
    Category("local-hostname", "2007-01-19"),
    Category("local-ipv4", "1.0"),
    Category("mac", "2011-01-01"),
    Category("metrics/vhostmd", "2011-05-01"),
    Category("placement/availability-zone", "2008-02-01"),
    Category("placement/availability-zone-id", "2019-10-01"),
    Category("placement/group-name", "2020-08-24", "a placement group"),
    Category("placement/host-id", "2020-08-24", "a Dedicated Host"),
    Category("placement/partition-number", "2020-08-24", "a partition placement group"),
    Category("placement/region", "2020-08-24"),
    Category("product-codes", "2007-03-01", "`product_codes`"),
    # Not in the documentation's table, and listed by EC2.
    Category("profile", "2011-05-01"),
    Category("public-hostname", "2007-01-19", "a public IPv4 address"),
    Category("public-ipv4", "2007-01-19", "a public IPv4 address"),
    Category("public-keys/N/openssh-key", "1.0", "a key pair"),
    Category("ramdisk-id", "2007-10-10", "`ramdisk_id`"),
    Category("reservation-id", "1.0"),
    Category("security-groups", "1.0"),
    Category("services/domain", "2014-02-25"),
    Category("services/partition", "2015-10-20"),
    Category("spot/instance-action", "2016-11-15", "`spot_notice`"),
    Category("spot/termination-time", "2014-11-05", "`spot_notice` to terminate"),
    Category("system", "2022-09-24"),
    Category("tags/instance/key", "2021-03-23", "tags, and options that allow them"),
)
_INTERFACE = (
    Category("device-number", "2011-01-01"),
    Category("interface-id", "2011-01-01"),
    Category("ipv4-associations/public-ip", "2011-01-01", "a public IPv4 address"),
    # The documentation has no version for ipv6-prefix, and no ipv4-prefix: both
    # came with prefixes (July 2021), and are what ec2-metadata and the VPC CNI plugin ask for.
    Category("ipv4-prefix", "2021-07-15", "`ipv4_prefixes`"),
    Category("ipv6-prefix", "2021-07-15", "`ipv6_prefixes`"),
    Category("ipv6s", "2016-06-30", "an IPv6 address"),
    Category("local-hostname", "2011-01-01"),
    Category("local-ipv4s", "2011-01-01"),
    Category("mac", "2011-01-01"),
    # "network-card-index" in documentation before 2024; EC2 answers this one (ec2-net-utils).
    Category("network-card", "2020-11-01", "`network_card_index`"),
    Category("owner-id", "2011-01-01"),
    Category("public-hostname", "2011-01-01", "a public IPv4 address"),
    Category("public-ipv4s", "2011-01-01", "a public IPv4 address"),
    Category("security-group-ids", "2011-01-01"),
    Category("security-groups", "2011-01-01"),
    Category("subnet-id", "2011-01-01"),
    Category("subnet-ipv4-cidr-block", "2011-01-01"),
    Category("subnet-ipv6-cidr-blocks", "2016-06-30", "an IPv6 address"),
    Category("vpc-id", "2011-01-01"),
    Category("vpc-ipv4-cidr-block", "2011-01-01"),
    Category("vpc-ipv4-cidr-blocks", "2016-06-30"),
    Category("vpc-ipv6-cidr-blocks", "2016-06-30", "an IPv6 address"),
)
_OTHERS = (
    Category("dynamic/fws/instance-monitoring", "2009-04-04"),
    Category("dynamic/instance-identity/document", "2009-04-04"),
    Category("dynamic/instance-identity/pkcs7", "2009-04-04"),
    Category("dynamic/instance-identity/rsa2048", "2009-04-04"),
    Category("dynamic/instance-identity/signature", "2009-04-04"),
    Category("user-data", "1.0", "user data"),
)


def _below(folder: str, categories: tuple[Category, ...]) -> tuple[Category, ...]:
    return tuple(Category(f"{folder}/{one.path}", one.since, one.needs) for one in categories)


CATEGORIES: Mapping[str, Category] = {
    category.path: category
    for category in sorted(
        (*_below("meta-data", _META_DATA), *_below(_MAC, _INTERFACE), *_OTHERS),
        key=lambda category: category.path,
    )
}
"""Every category by its path below a version, in the order of listings."""


def category_table() -> str:
    """Return the Markdown between the README's two marks, both included."""
    rows = [
        f"| `{category.path}` | {category.since} | "
        f"yes{', with ' + category.needs if category.needs else ''} |"
        for category in CATEGORIES.values()
    ]
    return "\n".join((BEGIN, "", "| category | since | here |", "|---|---|---|", *rows, "", END))
