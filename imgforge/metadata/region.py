"""What the names of EC2's regions and zones tell.

https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html
"""

import re

from imgforge.partition import PARTITIONS, REGION

_ZONE = re.compile(r"[a-z]")
# A Local Zone as in us-east-1-bos-1a, a Wavelength Zone as in us-east-1-wl1-bos-wlz-1.
_FAR_ZONE = re.compile(r"-[a-z]{3}-[1-9][0-9]?[a-z]|-wl[1-9][0-9]?-[a-z]{3}-wlz-[1-9][0-9]?")


def is_region(name: str) -> bool:
    """Tell whether a name has the form of EC2's regions, of whatever partition."""
    match = REGION.fullmatch(name)
    return match is not None and (match[2] is None or f"{match[1]}-{match[2]}" in PARTITIONS)


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
    match = REGION.fullmatch(region)
    if match is None or not _ZONE.fullmatch(letter):
        return ""
    area, among, side, number = match.groups(default="")
    among = {"gov": "g"}.get(among, among.replace("iso", "i"))
    short = "".join(word[0] for word in re.findall("north|south|east|west|central", side))
    return f"{area}{among}{short}{number}-az{ord(letter) - ord('a') + 1}"
