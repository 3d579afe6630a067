"""What the names of EC2's regions and zones tell.

https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html
"""

import re

_COMPASS = "(?:north|south)(?:east|west)?|east|west|central"
_REGION = re.compile(rf"([a-z]{{2,4}})(?:-([a-z]{{2,4}}))?-({_COMPASS})-([1-9][0-9]?)")
# botocore's partitions.json, by what a region's name begins with; all others are "aws".
_PARTITIONS = {
    "cn": ("aws-cn", "amazonaws.com.cn"),
    "eusc-de": ("aws-eusc", "amazonaws.eu"),
    "us-gov": ("aws-us-gov", "amazonaws.com"),
    "us-iso": ("aws-iso", "c2s.ic.gov"),
    "us-isob": ("aws-iso-b", "sc2s.sgov.gov"),
    "eu-isoe": ("aws-iso-e", "cloud.adc-e.uk"),
    "us-isof": ("aws-iso-f", "csp.hci.ic.gov"),
}
_ZONE = re.compile(r"[a-z]")
# A Local Zone as in us-east-1-bos-1a, a Wavelength Zone as in us-east-1-wl1-bos-wlz-1.
_FAR_ZONE = re.compile(r"-[a-z]{3}-[1-9][0-9]?[a-z]|-wl[1-9][0-9]?-[a-z]{3}-wlz-[1-9][0-9]?")


def is_region(name: str) -> bool:
    """Tell whether a name has the form of EC2's regions, of whatever partition."""
    match = _REGION.fullmatch(name)
    return match is not None and (match[2] is None or f"{match[1]}-{match[2]}" in _PARTITIONS)


def is_zone(name: str, region: str) -> bool:
    """Tell whether a name has the form of an Availability, Local or Wavelength Zone of a region."""
    rest = name.removeprefix(region)
    is_known = _ZONE.fullmatch(rest) or _FAR_ZONE.fullmatch(rest)
    return name.startswith(region) and is_known is not None


def zone_id(zone: str, region: str) -> str:
    """Return a zone's id, as "use1-az1" for us-east-1a: here letters and numbers run alike.

    It is "" for a Local or Wavelength Zone, whose id is not told by its name. Those of the regions
    of governments follow usgw1-az1.
    """
    letter = zone.removeprefix(region)
    match = _REGION.fullmatch(region)
    if match is None or not _ZONE.fullmatch(letter):
        return ""
    area, among, side, number = match.groups(default="")
    among = {"gov": "g"}.get(among, among.replace("iso", "i"))
    short = "".join(word[0] for word in re.findall("north|south|east|west|central", side))
    return f"{area}{among}{short}{number}-az{ord(letter) - ord('a') + 1}"


def partition_of(region: str) -> tuple[str, str]:
    """Return the partition of AWS that a region is in, and the domain of its names."""
    match = _REGION.fullmatch(region)
    area = "-".join(word for word in match.groups()[:2] if word) if match else ""
    return _PARTITIONS.get(area, ("aws", "amazonaws.com"))
