"""The trees of an instance: every category, and under each version only what that version had."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.metadata import (
    Access,
    Credentials,
    IamRole,
    Instance,
    Interface,
    MetadataOptions,
    Placement,
    Signer,
)
from imgforge.metadata.answer import Answer, HttpRequest, answer
from imgforge.metadata.categories import CATEGORIES, category_table
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import Trees, grow, leaves
from imgforge.metadata.versions import VERSIONS
from tests.metadata_instances import FULL, PLAIN

README = Path(__file__).parents[2] / "README.md"
SIGNER = Signer.generate()
TREES = {"plain": grow(PLAIN), "full": grow(FULL, SIGNER)}


def ask(trees: Trees, path: str) -> Answer:
    return answer(HttpRequest("GET", path), trees, Tokens(), 0.0)


def text(path: str, trees: Trees = TREES["full"]) -> str:
    reply = ask(trees, path)
    assert reply.status == 200, path
    return reply.body.decode()


def walk(trees: Trees, version: str) -> Iterator[tuple[str, bool]]:
    """Yield each path that listings name, from the version's own on; folders, and then leaves."""
    yield f"/{version}/", True
    pending = []
    for name in text(f"/{version}/", trees).split("\n"):
        if name == "user-data":
            yield f"/{version}/{name}", False
        else:
            pending.append(f"/{version}/{name}/")
    while pending:
        folder = pending.pop()
        yield folder, True
        for line in text(folder, trees).split("\n"):
            assert line, folder
            if folder.endswith("/public-keys/"):
                pending.append(folder + line.partition("=")[0] + "/")
            elif line.endswith("/"):
                pending.append(folder + line)
            else:
                yield folder + line, False


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("trees", TREES.values(), ids=TREES)
def test_whatever_is_named_is_answered_and_nothing_else(version: str, trees: Trees) -> None:
    named = dict(walk(trees, version))
    for path, is_folder in named.items():
        reply = ask(trees, path)
        assert reply.status == 200, path
        is_bytes = path.endswith("/user-data")
        kind = "application/octet-stream" if is_bytes else "text/plain"
        assert reply.headers["content-type"] == kind, path
        for wrong in (path + "x", path + "/", path + "/x", path + "%", path.upper() + "/"):
            if wrong in {path, *named} or wrong.removesuffix("/") in named:
                continue
            assert ask(trees, wrong).status == 404, wrong
        assert is_folder or ask(trees, path + "/").body == reply.body
    everything = {path for path, _ in walk(TREES["full"], "latest")}
    for path in everything:
        elsewhere = f"/{version}/" + path.removeprefix("/latest/")
        assert (ask(trees, elsewhere).status == 200) == (elsewhere in named), elsewhere


def test_a_full_instance_answers_every_category() -> None:
    assert {leaf.category for leaf in leaves(FULL, SIGNER)} == set(CATEGORIES)


def test_a_plain_instance_answers_every_category_that_needs_nothing() -> None:
    needing_nothing = {path for path, category in CATEGORIES.items() if not category.needs}
    assert {leaf.category for leaf in leaves(PLAIN, SIGNER)} == needing_nothing


def test_the_readme_has_the_table_as_the_code_has_it() -> None:
    assert category_table() in README.read_text(encoding="utf-8"), "run scripts/readme-categories"


@pytest.mark.parametrize(
    ("version", "has", "lacks"),
    [
        ("1.0", "ami-id", "instance-type"),
        ("2007-01-19", "public-ipv4", "product-codes"),
        ("2007-08-29", "instance-type", "block-device-mapping"),
        ("2008-02-01", "placement", "mac"),
        ("2009-04-04", "instance-action", "network"),
        ("2011-01-01", "network", "iam"),
        ("2012-01-12", "iam", "services"),
        ("2018-08-17", "events", "instance-life-cycle"),
        ("2021-01-03", "ipv6", "tags"),
        ("2021-03-23", "tags", "autoscaling"),
        ("2022-09-24", "system", "x"),
    ],
)
def test_a_version_has_only_what_it_had(version: str, has: str, lacks: str) -> None:
    names = [line.rstrip("/") for line in text(f"/{version}/meta-data/").split("\n")]
    assert has in names
    assert lacks not in names


def test_dynamic_data_came_in_2009() -> None:
    assert text("/2008-09-01/") == "meta-data\nuser-data"
    assert text("/2009-04-04/") == "dynamic\nmeta-data\nuser-data"


def test_listings_are_in_order_and_keys_by_number() -> None:
    names = [line.rstrip("/") for line in text("/latest/meta-data/").split("\n")]
    assert names == sorted(names)
    keys = text("/latest/meta-data/public-keys").split("\n")
    assert keys == [f"{number}=key {number}" for number in range(12)]


def test_each_interface_has_its_own_addresses() -> None:
    macs = "/latest/meta-data/network/interfaces/macs"
    assert text(macs) == "02:00:00:00:00:01/\n02:00:00:00:00:aa/"
    second = f"{macs}/02:00:00:00:00:aa"
    assert text(f"{second}/local-ipv4s") == "10.0.0.5\n10.0.0.6"
    assert text(f"{second}/ipv4-associations/") == "198.51.100.8"
    assert text(f"{second}/ipv4-associations/198.51.100.8") == "10.0.0.5"
    assert text(f"{second}/vpc-ipv4-cidr-block") == "10.0.0.0/16"
    assert text(f"{second}/vpc-ipv4-cidr-blocks") == "10.0.0.0/16\n10.1.0.0/16"
    assert text(f"{second}/interface-id") != text(f"{macs}/02:00:00:00:00:01/interface-id")


def test_names_follow_the_region() -> None:
    meta_data = "/latest/meta-data"
    public = "ec2-198-51-100-7.eu-central-1.compute.amazonaws.com"
    assert text(f"{meta_data}/public-hostname") == public
    assert text(f"{meta_data}/hostname") == "ip-172-31-16-15.eu-central-1.compute.internal"
    assert text(f"{meta_data}/placement/availability-zone-id") == "euc1-az2"
    assert text(f"{meta_data}/system") == "xen"


@pytest.mark.parametrize(
    ("region", "partition", "domain", "zone_id"),
    [
        ("us-east-1", "aws", "amazonaws.com", "use1-az1"),
        ("ap-southeast-2", "aws", "amazonaws.com", "apse2-az1"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn", "cnn1-az1"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com", "usgw1-az1"),
        ("mx-central-1", "aws", "amazonaws.com", "mxc1-az1"),
        ("us-iso-east-1", "aws-iso", "c2s.ic.gov", "usie1-az1"),
        ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov", "usibe1-az1"),
        ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk", "euiew1-az1"),
        ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov", "usifs1-az1"),
        ("eusc-de-east-1", "aws-eusc", "amazonaws.eu", "euscdee1-az1"),
    ],
)
def test_partitions(region: str, partition: str, domain: str, zone_id: str) -> None:
    instance = replace(PLAIN, region=region)
    assert instance.zone == region + "a"
    assert instance.partition == partition
    assert (instance.domain, instance.zone_id) == (domain, zone_id)


@pytest.mark.parametrize("zone", ["us-east-1-bos-1a", "us-east-1-wl1-bos-wlz-1"])
def test_a_zone_whose_name_does_not_tell_its_id_needs_one(zone: str) -> None:
    with pytest.raises(ValueError, match="its availability_zone_id has to be given"):
        replace(PLAIN, availability_zone=zone)
    instance = replace(PLAIN, availability_zone=zone, availability_zone_id="use1-bos1-az1")
    placement = "/latest/meta-data/placement"
    assert text(f"{placement}/availability-zone", grow(instance)) == zone
    assert text(f"{placement}/availability-zone-id", grow(instance)) == "use1-bos1-az1"


def test_every_interface_has_an_id_of_its_own() -> None:
    places = [(None, 1), (None, 2), (1, 1), (1, 2), (2, 1), (None, 256)]
    further = tuple(
        Interface(f"02:00:00:00:01:{at:02x}", number, network_card_index=card)
        for at, (card, number) in enumerate(places)
    )
    instance = replace(PLAIN, instance_id="i-0123456789abcde01", further_interfaces=further)
    assert len({instance.interface_id(interface) for interface in instance.interfaces}) == 7


def test_empty_user_data_is_none() -> None:
    assert ask(grow(replace(PLAIN, user_data=b"")), "/latest/user-data").status == 404
    assert "user-data" not in text("/latest/", grow(replace(PLAIN, user_data=b"")))


def test_a_mac_address_answers_in_small_letters_everywhere() -> None:
    trees = grow(replace(PLAIN, mac_address="02:00:00:00:00:AB"))
    assert text("/latest/meta-data/mac", trees) == "02:00:00:00:00:ab"
    assert text("/latest/meta-data/network/interfaces/macs/", trees) == "02:00:00:00:00:ab/"


def test_tags_are_shown_only_where_the_options_allow_it() -> None:
    assert text("/latest/meta-data/tags/instance/") == "Name\na:b\nempty"
    assert text("/latest/meta-data/tags/instance/a:b") == "x/y"
    assert text("/latest/meta-data/tags/instance/empty") == ""
    hidden = grow(replace(FULL, options=MetadataOptions()))
    assert ask(hidden, "/latest/meta-data/tags/instance/Name").status == 404
    assert "tags/" not in text("/latest/meta-data/", hidden).split("\n")


def test_a_role_has_credentials_and_the_instance_has_its_own() -> None:
    info = json.loads(text("/latest/meta-data/iam/info"))
    assert info["InstanceProfileArn"] == "arn:aws:iam::123456789012:instance-profile/web-profile"
    assert text("/latest/meta-data/iam/security-credentials/") == "web-role"
    keys = json.loads(text("/latest/meta-data/iam/security-credentials/web-role"))
    assert (keys["Code"], keys["Type"], keys["Token"]) == ("Success", "AWS-HMAC", "role's")
    folder = "/latest/meta-data/identity-credentials/ec2"
    own = json.loads(text(f"{folder}/security-credentials/ec2-instance"))
    assert own["Token"] != keys["Token"]
    assert json.loads(text(f"{folder}/info"))["AccountId"] == "123456789012"


def test_events_are_told_as_ec2_tells_them() -> None:
    events = "/latest/meta-data/events"
    (scheduled,) = json.loads(text(f"{events}/maintenance/scheduled"))
    assert scheduled == {
        "NotBefore": "21 Jan 2019 09:00:43 GMT",
        "Code": "system-reboot",
        "Description": "scheduled reboot",
        "EventId": "instance-event-1",
        "NotAfter": "21 Jan 2019 09:17:23 GMT",
        "State": "active",
    }
    (past,) = json.loads(text(f"{events}/maintenance/history"))
    assert past["State"] == "completed"
    assert text(f"{events}/recommendations/rebalance") == '{"noticeTime": "2020-11-05T08:22:00Z"}'
    spot = json.loads(text("/latest/meta-data/spot/instance-action"))
    assert spot == {"action": "terminate", "time": "2020-11-05T08:24:00Z"}
    assert text("/latest/meta-data/spot/termination-time") == "2020-11-05T08:24:00Z"
    assert text("/latest/meta-data/events/maintenance/history", TREES["plain"]) == "[]"


@pytest.mark.parametrize(
    "broken",
    [
        {"public_keys": {"a/b": "ssh-ed25519 A"}},
        {"public_keys": {"a\nb": "ssh-ed25519 A"}},
        {"public_keys": {"": "ssh-ed25519 A"}},
        {"block_devices": {"floppy": "fd0"}},
        {"block_devices": {"ebs": "sdb"}},
        {"pending_time": "yesterday"},
        {"further_interfaces": (Interface("02:00:00:00:00:01", 1),)},
        {"further_interfaces": (Interface("02:00:00:00:00:02", 0),)},
        *({"region": name} for name in ("", "mars", "us-east-1a", "us-east-1\n", "us-xyz-east-1")),
        *({"availability_zone": name} for name in ("us-west-2a", "us-east-1", "us-east-1A", "a")),
        {"availability_zone_id": "az"},
        *({"mac_address": mac} for mac in ("", "x", "02:00\nforged/", "02:00:00:00:00:01\n")),
        *({"local_ipv4": ip} for ip in ("", "not an address", "1.2.3", "::1", "1.2.3.4\n")),
        *({"public_ipv4": ip} for ip in ("1.2.3.4\nforged", "1.2/3.4")),
        *({"ipv6s": (ip,)} for ip in ("", "1.2.3.4", "fe80::1%a/b")),
        {"launch_index": -5},
        *({"public_keys": {name: "ssh-ed25519 A"}} for name in (".", "..", "\ud800")),
        *({"elastic_gpus": {name: "{}"}} for name in (".", "..")),
        *({"iam_role": IamRole(name)} for name in (".", "..", "a\nb")),
        {"public_keys": {"a": "ssh-ed25519 \ud800"}},
        {"tags": {"a": "\udfff"}},
        {"tags": {"\udfff": "a"}},
        {"iam_role": IamRole("a", Credentials(token="\ud800"))},
        {"security_groups": ("a", "b\nc")},
        {"placement": Placement("a\nb")},
        {"instance_id": "i-1\nforged"},
        {
            "tags": {"a/b": "c"},
            "options": MetadataOptions(instance_metadata_tags=Access.ENABLED),
        },
        {
            "tags": {"_index": "c"},
            "options": MetadataOptions(instance_metadata_tags=Access.ENABLED),
        },
    ],
)
def test_what_no_listing_could_show_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replace(PLAIN, **broken)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken",
    [
        *({"mac_address": mac} for mac in ("", "x/mac", "02:00\nforged/")),
        {"device_number": -1},
        {"network_card_index": -1},
        {"local_ipv4s": ("10.0.0.1", "x")},
        {"public_ipv4s": ("1.2/3.4",)},
        {"ipv6s": ("::1\n",)},
        *({"subnet_ipv4_cidr_block": net} for net in ("", "10.0.0.0", "10.0.0.1/8", "::/0")),
        {"vpc_ipv4_cidr_blocks": ("10.0.0.0/255.0.0.0",)},
        {"subnet_ipv6_cidr_blocks": ("2001:db8::/129",)},
        {"vpc_ipv6_cidr_blocks": ("2001:db8::%a/64",)},
        {"ipv4_prefixes": ("10.0.0.0/28\n",)},
        {"ipv6_prefixes": ("x/80",)},
    ],
)
def test_an_interface_without_an_address_of_its_form_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        replace(Interface("02:00:00:00:00:02", 1), **broken)  # type: ignore[arg-type]


def test_an_instance_goes_through_json_and_back() -> None:
    """It is kept with a failed test's machine, to be replayed."""
    from pydantic import TypeAdapter

    adapter = TypeAdapter(Instance)
    plain = replace(FULL, user_data=None)
    assert adapter.validate_json(adapter.dump_json(plain)) == plain
