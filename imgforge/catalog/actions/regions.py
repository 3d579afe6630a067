"""DescribeRegions and DescribeAvailabilityZones, as SDKs and people need them."""

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.filters import glob_of
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session
from imgforge.partition import needs_opting_in, partition_of

ZONES = ("a", "b", "c")


def zone_names(region: str) -> tuple[str, ...]:
    """Return a region's availability zones."""
    return tuple(f"{region}{letter}" for letter in ZONES)


@action("DescribeRegions", Access.READ)
def describe_regions(session: Session, parameters: Parameters) -> Result:
    """Return the regions of the caller's partition, each open to the caller.

    Those that an account has to opt into it has: EC2 API, Region: OptInStatus.
    """
    wanted = parameters.get("RegionNames", [])
    for name in wanted:
        if name not in session.regions:
            raise RefusedError("InvalidParameterValue", f"Invalid region name: {name[:100]}")
    shown = [
        {
            "RegionName": name,
            "Endpoint": f"ec2.{name}.{partition_of(name)[1]}",
            "OptInStatus": "opted-in" if needs_opting_in(name) else "opt-in-not-required",
        }
        for name in session.regions
        if not wanted or name in wanted
    ]
    names = {"region-name": "RegionName", "endpoint": "Endpoint", "opt-in-status": "OptInStatus"}
    return {"Regions": _filtered(session, parameters, shown, names)}


@action("DescribeAvailabilityZones", Access.READ)
def describe_availability_zones(session: Session, parameters: Parameters) -> Result:
    """Return the zones of the caller's region: a, b and c."""
    zones = zone_names(session.region)
    short = "".join(step[0] for step in session.region.split("-")[:-1])
    ids = {name: f"{short}{session.region[-1]}-az{n}" for n, name in enumerate(zones, start=1)}
    for asked, known in (("ZoneNames", zones), ("ZoneIds", tuple(ids.values()))):
        for name in parameters.get(asked, []):
            if name not in known:
                raise RefusedError(
                    "InvalidParameterValue", f"Invalid availability zone: [{name[:100]}]"
                )
    wanted = {*parameters.get("ZoneNames", []), *parameters.get("ZoneIds", [])}
    shown = [
        {
            "OptInStatus": "opt-in-not-required",
            "RegionName": session.region,
            "ZoneName": name,
            "ZoneId": ids[name],
            "GroupName": session.region,
            "NetworkBorderGroup": session.region,
            "ZoneType": "availability-zone",
            "State": "available",
        }
        for name in zones
        if not wanted or name in wanted or ids[name] in wanted
    ]
    names = {
        "group-name": "GroupName",
        "opt-in-status": "OptInStatus",
        "region-name": "RegionName",
        "state": "State",
        "zone-id": "ZoneId",
        "zone-name": "ZoneName",
        "zone-type": "ZoneType",
    }
    return {"AvailabilityZones": _filtered(session, parameters, shown, names)}


def _filtered(
    session: Session, parameters: Parameters, shown: list[Result], names: dict[str, str]
) -> list[Result]:
    for given in parameters.get("Filters", []):
        name = names.get(given.get("Name", ""))
        if name is None:
            raise RefusedError(
                "InvalidParameterValue", f"The filter '{given.get('Name', '')[:100]}' is invalid"
            )
        values = given.get("Values", [])
        shown = [one for one in shown if any(_fits(session, one[name], v) for v in values)]
    return shown


def _fits(session: Session, value: str, wanted: str) -> bool:
    pattern = glob_of(wanted)
    if pattern is None:
        return value == wanted
    found = session.row("SELECT ? GLOB ?", value, pattern)
    return found is not None and bool(found[0])
