"""Destinations, audiences, tags and the facts of copies that are still to be made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import Gate, ImageFacts, ShareWish, SnapshotFacts, check_share
from imgforge.copy_plan import Destination, parse_destinations
from imgforge.deregistration import Remains, read_remains
from imgforge.ec2 import Image
from imgforge.errors import BadInputError
from imgforge.image_lookup import ImageView, parse_filters
from imgforge.image_protection import read_moment
from imgforge.image_sharing import read_audience
from imgforge.made_tags import MADE, SHA256, UNFINISHED, VERDICT, VERDICT_SHA256, WORK
from imgforge.publication import PublicationWish, copy_facts, publication_tags

ACCEPTED = {
    SHA256: "ab" * 32,
    VERDICT: "accepted",
    VERDICT_SHA256: "cd" * 32,
    MADE: "register",
    WORK: "w",
    UNFINISHED: "w",
}
ARN = "arn:aws:organizations::123456789012"


def view(tags: dict[str, str]) -> ImageView:
    told: dict[str, Any] = {
        "ImageId": "ami-1",
        "State": "available",
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }
    return ImageView(Image.of(told), "us-east-1", is_own=True, snapshots=(), permissions=())


def test_destinations_are_regions_each_with_a_key_perhaps() -> None:
    key = "arn:aws:kms:eu-west-1:1:key/a=b"
    assert parse_destinations(["eu-west-1=" + key, "a-b-1,c-d-1", "a-b-1"]) == (
        Destination("eu-west-1", key),
        Destination("a-b-1"),
        Destination("c-d-1"),
    )


@pytest.mark.parametrize("text", ["", "=k", "r=", "a,,b", "a,a=k"])
def test_a_destination_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="Destination"):
        parse_destinations([text])


def test_an_audience_is_named_once_each() -> None:
    assert read_audience(
        accounts=["1111-2222-3333", "111122223333"],
        organizations=[f"{ARN}:organization/o-1", f"{ARN}:ou/o-1/ou-1"],
        everybody=True,
    ) == (
        ("UserId", "111122223333"),
        ("OrganizationArn", f"{ARN}:organization/o-1"),
        ("OrganizationalUnitArn", f"{ARN}:ou/o-1/ou-1"),
        ("Group", "all"),
    )
    with pytest.raises(BadInputError, match="nobody"):
        read_audience(accounts=[])


def test_filters_of_one_name_are_either_value() -> None:
    assert parse_filters(["name=a", "name=b", "tag:x=y=z", "tag:имя="]) == {
        "name": ["a", "b"],
        "tag:x": ["y=z"],
        "tag:имя": [""],
    }
    for wrong in ("", "name", "=x"):
        with pytest.raises(BadInputError, match="NAME=VALUE"):
            parse_filters([wrong])


def test_a_moment_without_a_zone_is_of_utc() -> None:
    assert read_moment("2027-01-31").isoformat() == "2027-01-31T00:00:00+00:00"
    assert read_moment("2027-01-31T12:00:00+02:00").utcoffset() is not None
    for wrong in ("", "tomorrow", "2027-13-01", "1e9"):
        with pytest.raises(BadInputError, match="ISO 8601"):
            read_moment(wrong)


def test_a_publication_tags_what_is_known_of_the_disk_and_no_mark_of_its_making() -> None:
    wish = PublicationWish("ami-1", tags={"v": "2"})
    assert publication_tags(view({**ACCEPTED, "v": "1", "team": "web"}), wish) == {
        SHA256: "ab" * 32,
        VERDICT: "accepted",
        VERDICT_SHA256: "cd" * 32,
        "v": "2",
        "team": "web",
    }


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {VERDICT: "accepted"},
        {SHA256: "ab"},
        {VERDICT: "rejected", SHA256: "ab"},
        {VERDICT: "accepted", SHA256: "ab"},
    ],
)
def test_what_no_accepted_verdict_names_is_not_published(tags: dict[str, str]) -> None:
    with pytest.raises(BadInputError, match="is not published"):
        publication_tags(view(tags), PublicationWish("ami-1"))
    wish = PublicationWish("ami-1", gate=Gate.UNVERIFIED)
    assert publication_tags(view(tags), wish)[VERDICT] == "unverified"


@pytest.mark.parametrize(
    ("encrypted_already", "encrypted", "key", "public", "account"),
    [
        (False, False, "", set(), set()),
        (False, True, "", {"share-encrypted", "share-default-key"}, {"share-default-key"}),
        (False, False, "k", {"share-encrypted"}, set()),
        (True, False, "", {"share-encrypted", "share-default-key"}, {"share-default-key"}),
        (True, False, "k", {"share-encrypted"}, set()),
    ],
)
def test_whom_a_copy_can_be_shared_with_is_known_before_it_is_made(
    encrypted_already: bool, encrypted: bool, key: str, public: set[str], account: set[str]
) -> None:
    snapshot = SnapshotFacts("snap-1", "1" * 12, is_encrypted=encrypted_already)
    source = ImageFacts("ami-1", "1" * 12, "us-east-1", snapshots=(snapshot,))
    facts = copy_facts(source, Destination("eu-west-1", key), encrypted=encrypted)
    for audience, rules in ((("Group", "all"), public), (("UserId", "2" * 12), account)):
        found = check_share(facts, ShareWish(add=[audience]))
        assert {one.rule for one in found} == rules
    assert replace(facts, snapshots=()).region == "eu-west-1"


@pytest.mark.parametrize("key", ["alias/aws/ebs", "arn:aws:kms:eu-west-1:1:alias/aws/ebs"])
def test_a_copy_with_the_accounts_own_key_is_told_apart_from_its_source(key: str) -> None:
    source = ImageFacts("ami-1", "1" * 12, "us-east-1", snapshots=(SnapshotFacts("snap-1", "1"),))
    to = Destination("eu-west-1", key)
    facts = copy_facts(source, to, encrypted=False, has_default_key=True)
    [found] = check_share(facts, ShareWish(add=[("UserId", "2" * 12)]))
    assert found.rule == "share-default-key"
    assert found.found.startswith("the copy of snap-1 is encrypted")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"image_id": "ami-1"}',
        b"\xff\xfe",
        b'{"snapshots": 1}',
        b"1" * 99,
    ],
)
def test_a_damaged_note_of_what_an_image_left_is_no_note(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(content)
    assert read_remains(path) is None
    assert read_remains(tmp_path / "none.json") is None


def test_a_note_of_what_an_image_left_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_text(
        '{"image_id": "ami-1", "region": "r", "snapshots": ["snap-1"], "bundle": ""}',
        encoding="utf-8",
    )
    assert read_remains(path) == Remains("ami-1", "r", ("snap-1",), "")
