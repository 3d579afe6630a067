"""The partitions of AWS, which keep regions apart: accounts, names and copies are of one alone."""

import re

_COMPASS = "(?:north|south)(?:east|west)?|east|west|central"
REGION = re.compile(rf"([a-z]{{2,4}})(?:-([a-z]{{2,4}}))?-({_COMPASS})-([1-9][0-9]?)")
# botocore's partitions.json, by what a region's name begins with; all others are "aws".
PARTITIONS = {
    "cn": ("aws-cn", "amazonaws.com.cn"),
    "eusc-de": ("aws-eusc", "amazonaws.eu"),
    "us-gov": ("aws-us-gov", "amazonaws.com"),
    "us-iso": ("aws-iso", "c2s.ic.gov"),
    "us-isob": ("aws-iso-b", "sc2s.sgov.gov"),
    "eu-isoe": ("aws-iso-e", "cloud.adc-e.uk"),
    "us-isof": ("aws-iso-f", "csp.hci.ic.gov"),
}
# AWS Account Management, "Enable or disable AWS Regions": those of before March 20, 2019, which are
# open to each account; all others of the partition "aws" are opted into.
_DEFAULT = {
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
}


def partition_of(region: str) -> tuple[str, str]:
    """Return the partition of AWS that a region is in, and the domain of its names."""
    match = REGION.fullmatch(region)
    area = "-".join(word for word in match.groups()[:2] if word) if match else ""
    return PARTITIONS.get(area, ("aws", "amazonaws.com"))


def needs_opting_in(region: str) -> bool:
    """Tell whether an account has to opt into a region before it can use it."""
    return partition_of(region)[0] == "aws" and region not in _DEFAULT
