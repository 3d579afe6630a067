"""`imgforge images`, `snapshots` and `publish` against `imgforge serve`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.acceptance import write_verdict
from imgforge.made_tags import MADE, SHA256, UNFINISHED, VERDICT
from tests.ami_desk import DISK_SHA256, HOME, AmiDesk, credentials, new_account
from tests.registering import accept, make_disk
from tests.serving import OTHER_ACCOUNT, Serving, code_of, make_snapshot, register

WEST, CENTRAL = "eu-west-1", "eu-central-1"
KEY = "arn:aws:kms:eu-west-1:111111111111:key/11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "catalog"


@pytest.fixture(scope="module")
def serving(catalog: Path) -> Iterator[Serving]:
    with Serving(catalog, "--latency", "0s") as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> AmiDesk:
    """An account of its own at an endpoint that all tests share."""
    account = new_account()
    for name, value in credentials(tmp_path / "data", account).items():
        monkeypatch.setenv(name, value)
    return AmiDesk(serving, account)


def faulty(catalog: Path, *faults: str) -> Serving:
    """Return another endpoint of the same catalog, which gets something wrong."""
    words = [word for fault in faults for word in ("--fault", fault)]
    return Serving(catalog, "--latency", "0s", *words)


def test_ones_own_images_are_listed_and_one_is_shown(desk: AmiDesk) -> None:
    image_id = desk.image()
    [listed] = desk.good("images")
    assert listed["ImageId"] == image_id
    shown = desk.good("images", image_id)
    assert shown == desk.good("images", "show", image_id)
    assert {**listed, **shown} == shown
    assert shown["LaunchPermissions"] == []
    assert shown["Verdict"] == "accepted"
    assert shown["Sha256"] == DISK_SHA256
    [snapshot] = shown["Snapshots"]
    assert snapshot["VolumeSize"] == 1
    for words in (("images",), ("images", image_id), ("snapshots", "show", snapshot["SnapshotId"])):
        assert image_id in desk.run(*words).out


def test_images_are_found_by_owner_name_filter_and_launcher(desk: AmiDesk) -> None:
    image_id = desk.image("find me 1")
    desk.image("other")
    assert [one["ImageId"] for one in desk.good("images", "find", "--name", "find*")] == [image_id]
    grubs = desk.good("images", "find", "--owner", "amazon", "--filter", "name=pv-grub*")
    assert grubs
    assert desk.account not in {one["OwnerId"] for one in grubs}
    either = ("--filter", "name=other", "--filter", "name=find me 1")
    assert len(desk.good("images", "find", "--owner", "self", *either)) == 2
    assert desk.good("images", "find", "--public", "--owner", "self") == []
    desk.good("images", "share", image_id, "--public")
    [found] = desk.good("images", "find", "--public", "--owner", "self")
    assert found["ImageId"] == image_id
    nothing = desk.run("images", "find", "--name", "nothing*")
    assert (nothing.code, nothing.out) == (0, f"no such image in {HOME}\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("find", "--filter", "name"), 2, "NAME=VALUE"),
        (("find", "--filter", "colour=red"), 4, "colour"),
        (("find", "--owner", "me"), 4, "InvalidUserID.Malformed"),
        (("show", "ami-1"), 4, "InvalidAMIID.Malformed"),
        (("show", "ami-0123456789abcdef0"), 4, "InvalidAMIID.NotFound"),
        (("ami-0123456789abcdef0",), 4, "InvalidAMIID.NotFound"),
        (("copy", "ami-0123456789abcdef0", "--to", WEST), 4, "InvalidAMIID.NotFound"),
        (("share", "ami-0123456789abcdef0"), 2, "--account"),
        (("deprecate", "ami-0123456789abcdef0"), 2, "--never"),
        (("deprecate", "ami-0123456789abcdef0", "--at", "soon"), 2, "ISO 8601"),
        (("unshare", "ami-0123456789abcdef0", "--all", "--public"), 2, "not both"),
        (("tag", "ami-0123456789abcdef0", "x"), 2, "KEY=VALUE"),
        (("bookmark", "x"), 2, "no image id"),
        (("gc", "--bucket", "NO"), 2, "Bucket"),
    ],
)
def test_what_cannot_be_is_told_by_exit_code_and_word(
    desk: AmiDesk, words: tuple[str, ...], code: int, told: str
) -> None:
    ran = desk.run("images", *words)
    assert (ran.code, told in ran.err) == (code, True), ran.err


def test_an_image_is_copied_once_with_a_key_for_each_region(desk: AmiDesk) -> None:
    image_id = desk.image()
    key = desk.key(WEST)
    words = ("images", "copy", image_id, "--to", f"{WEST}={key}", "--to", CENTRAL, "--wait")
    first = desk.good(*words)
    assert [(one["region"], one["new"]) for one in first["copies"]] == [
        (WEST, True),
        (CENTRAL, True),
    ]
    again = desk.good(*words)
    assert [one["image_id"] for one in again["copies"]] == [
        one["image_id"] for one in first["copies"]
    ]
    assert not any(one["new"] for one in again["copies"])
    assert desk.state((WEST, CENTRAL)) == (2, 2)
    [west] = desk.images(WEST)
    tags = {tag["Key"]: tag["Value"] for tag in west["Tags"]}
    assert tags[MADE] == "copy"
    assert tags[SHA256] == DISK_SHA256
    assert UNFINISHED not in tags
    [of_west] = desk.ec2(WEST).describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert (of_west["Encrypted"], of_west["KmsKeyId"]) == (True, key)
    [of_central] = desk.ec2(CENTRAL).describe_snapshots(OwnerIds=["self"])["Snapshots"]
    assert of_central["Encrypted"] is False


def test_a_copy_that_was_deregistered_is_made_anew(desk: AmiDesk) -> None:
    image_id = desk.image()
    words = ("images", "copy", image_id, "--to", WEST)
    [first] = desk.good(*words)["copies"]
    desk.good("images", "deregister", first["image_id"], "--region", WEST, "--with-snapshots")
    [second] = desk.good(*words)["copies"]
    assert second["image_id"] != first["image_id"]
    [third] = desk.good(*words)["copies"]
    assert third == {**second, "new": False}
    assert desk.state((WEST,)) == (1, 1)


def test_a_copy_that_fails_later_is_taken_back_in_all_regions(desk: AmiDesk) -> None:
    image_id = desk.image()
    ran = desk.run("images", "copy", image_id, "--to", f"{CENTRAL},{WEST}={KEY}", "--wait")
    assert ran.code == 4
    assert ran.err.count("taken back") == 2
    assert f"{KEY} has to be there" in ran.err
    assert desk.state((WEST, CENTRAL)) == (0, 0)
    desk.good("images", "copy", image_id, "--to", f"{WEST}={KEY}")  # nobody waits for it
    assert desk.images(WEST)[0]["State"] == "failed"
    assert desk.run("images", "copy", image_id, "--to", f"{WEST}={KEY}", "--wait").code == 4
    assert desk.state((WEST,)) == (0, 0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--to", HOME), "name-taken"),
        (("--to", "moon-1"), "moon-1"),
        (("--to", f"{CENTRAL}={KEY}"), "copy-key-region"),
        (("--to", WEST, "--name", "é"), "name"),
        (("--to", WEST, "--name", "a" * 129), "name"),
        (("--to", WEST, "--description", "名" * 256), "description"),
        (("--to", WEST, "--kms-key", KEY), "--encrypt"),
        (("--to", f"{WEST}="), "REGION=KEY"),
        (("--to", f"{WEST},{WEST}={KEY}"), "two keys"),
    ],
)
def test_a_copy_that_ec2_would_refuse_is_not_asked_for(
    desk: AmiDesk, words: tuple[str, ...], told: str
) -> None:
    image_id = desk.image()
    ran = desk.run("images", "copy", image_id, *words)
    assert (ran.code, told in ran.err) == (2, True), ran.err
    assert desk.state((WEST, CENTRAL)) == (0, 0)


def test_names_of_all_lengths_and_descriptions_of_every_script_are_copied(desk: AmiDesk) -> None:
    image_id = desk.image()
    for name, description in (("a/b", "名" * 255), ("x" * 128, "مرحبا"), ("(1) [2] ./-'@_", "")):
        words = ("--name", name, "--description", description)
        desk.good("images", "copy", image_id, "--to", WEST, *words)
        [copied] = [one for one in desk.images(WEST) if one["Name"] == name]
        assert copied.get("Description", "") == description


def test_an_image_is_shared_with_its_snapshots_and_no_longer(desk: AmiDesk) -> None:
    image_id = desk.image()
    [snapshot_id] = desk.snapshots()
    words = ("--account", OTHER_ACCOUNT, "--with-snapshots")
    for _ in range(2):
        desk.good("images", "share", image_id, *words)
        assert desk.permissions(image_id) == [{"UserId": OTHER_ACCOUNT}]
        assert desk.volume_permissions(snapshot_id) == [{"UserId": OTHER_ACCOUNT}]
    desk.good("images", "share", image_id, "--account", "2222-3333-4444")
    for _ in range(2):
        desk.good("images", "unshare", image_id, *words)
        assert desk.permissions(image_id) == [{"UserId": "222233334444"}]
        assert desk.volume_permissions(snapshot_id) == []
    desk.good("images", "share", image_id, "--public")
    desk.good("images", "unshare", image_id, "--all", "--with-snapshots")
    assert desk.permissions(image_id) == []


def test_snapshots_that_stay_shared_are_named(
    desk: AmiDesk, caplog: pytest.LogCaptureFixture
) -> None:
    image_id = desk.image()
    [snapshot_id] = desk.snapshots()
    for taken in (("--all",), ("--account", OTHER_ACCOUNT)):
        desk.good("images", "share", image_id, "--account", OTHER_ACCOUNT, "--with-snapshots")
        caplog.clear()
        desk.good("images", "unshare", image_id, *taken)
        assert f"{snapshot_id}: is still shared with {OTHER_ACCOUNT}" in caplog.text
        told = desk.good("images", "show", image_id)["CreateVolumePermissions"]
        assert told == {snapshot_id: [{"UserId": OTHER_ACCOUNT}]}
    desk.good("images", "unshare", image_id, "--all", "--with-snapshots")
    assert desk.good("images", "show", image_id)["CreateVolumePermissions"] == {}


def test_a_refusal_half_way_takes_the_sharing_back(catalog: Path, desk: AmiDesk) -> None:
    image_id = desk.image()
    with faulty(catalog, "denied:ModifySnapshotAttribute") as serving:
        there = AmiDesk(serving, desk.account)
        ran = there.run("images", "share", image_id, "--account", OTHER_ACCOUNT, "--with-snapshots")
        assert ran.code == 4
        assert "taken back" in ran.err
        assert there.permissions(image_id) == []


def test_what_cannot_be_shared_is_refused_before(desk: AmiDesk) -> None:
    image_id = desk.image()
    desk.ec2().modify_image_attribute(ImageId=image_id, ProductCodes=["abc"])
    assert "share-product-code" in desk.run("images", "share", image_id, "--public").err
    desk.good("images", "copy", image_id, "--to", WEST, "--encrypt", "--wait")
    [copied] = desk.images(WEST)
    words = ("images", "share", copied["ImageId"], "--region", WEST)
    assert "share-default-key" in desk.run(*words, "--account", OTHER_ACCOUNT).err
    assert "share-encrypted" in desk.run(*words, "--public").err
    org = "arn:aws:organizations::123456789012:organization/o-0123456789"
    assert desk.run("images", "share", image_id, "--org", org, "--with-snapshots").code == 2
    assert desk.good("images", "share", image_id, "--org", org)["launch_permissions"] == [
        {"OrganizationArn": org}
    ]


def test_tags_are_given_and_taken(desk: AmiDesk) -> None:
    image_id = desk.image()
    tags = desk.good("images", "tag", image_id, "a=1", "имя=ümläut=x", "e=")["tags"]
    assert (tags["a"], tags["имя"], tags["e"]) == ("1", "ümläut=x", "")
    tags = desk.good("images", "tag", image_id, "b=2", "--remove", "a", "--remove", "e")["tags"]
    assert "a" not in tags
    assert tags["b"] == "2"
    assert desk.run("images", "tag", image_id, "b=1", "--remove", "b").code == 2
    assert desk.run("images", "tag", image_id).code == 2


def test_the_gate_is_not_opened_by_tags_that_a_person_gives(desk: AmiDesk) -> None:
    image_id = desk.image(tags={})
    [snapshot_id] = desk.snapshots()
    mine = "imgforge:verdict=accepted"
    for words in (
        ("images", "tag", image_id, mine),
        ("images", "tag", image_id, "--remove", VERDICT),
        ("snapshots", "tag", snapshot_id, f"{SHA256}={'0' * 64}"),
        ("publish", image_id, "--unverified", "--tag", mine),
    ):
        ran = desk.run(*words)
        assert (ran.code, "imgforge's own" in ran.err) == (2, True)
    assert "Tags" not in desk.good("images", image_id) or not desk.good("images", image_id)["Tags"]


def test_a_protected_image_stays_until_it_is_not(desk: AmiDesk) -> None:
    image_id = desk.image()
    for _ in range(2):
        assert desk.good("images", "protect", image_id)["protection"] == "enabled"
    refused = desk.run("images", "deregister", image_id, "--with-snapshots")
    assert refused.code == 2
    assert "deregister-protected" in refused.err
    assert len(desk.snapshots()) == 1
    assert desk.good("images", "unprotect", image_id)["protection"] == "disabled"
    desk.good("images", "protect", image_id, "--cooldown")
    until = desk.good("images", "unprotect", image_id)["protection"]
    assert until.startswith("disabled-with-cooldown-until")
    assert desk.good("images", "unprotect", image_id)["protection"] == until


def test_an_image_goes_with_the_snapshots_that_no_other_needs(desk: AmiDesk) -> None:
    image_id = desk.image()
    [shared] = desk.snapshots()
    own = make_snapshot(desk.ec2())
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": shared}}
    data = {"DeviceName": "/dev/sdb", "Ebs": {"SnapshotId": own}}
    second = register(desk.ec2(), "second", shared, BlockDeviceMappings=[root, data])
    gone = desk.good("images", "deregister", second, "--with-snapshots")
    assert gone["snapshots_deleted"] == [own]
    assert image_id in gone["snapshots_kept"][shared]
    assert desk.snapshots() == [shared]
    again = desk.good("images", "deregister", second, "--with-snapshots")
    assert (again["was_gone"], again["snapshots_deleted"]) == (True, [])
    kept = desk.good("images", "deregister", image_id)
    assert kept["snapshots_deleted"] == []
    assert desk.snapshots() == [shared]
    elsewhere = desk.run("snapshots", "delete", shared, "--region", WEST)
    assert (elsewhere.code, "InvalidSnapshot.NotFound" in elsewhere.err) == (4, True)
    unknown = desk.run("snapshots", "delete", shared, "snap-0123456789abcdef0")
    assert (unknown.code, desk.snapshots()) == (4, [shared])
    assert desk.good("snapshots", "delete", shared) == {"deleted": [shared], "gone": []}
    assert desk.good("snapshots", "delete", shared) == {"deleted": [], "gone": [shared]}
    assert desk.snapshots() == []


def test_what_never_was_is_no_repeated_removal(desk: AmiDesk) -> None:
    never = {"deregister": "ami-0123456789abcdef0", "delete": "snap-0123456789abcdef0"}
    for noun, verb in (("images", "deregister"), ("snapshots", "delete")):
        unknown = desk.run(noun, verb, never[verb])
        assert (unknown.code, "--if-exists" in unknown.err) == (4, True)
        assert desk.run(noun, verb, never[verb], "--if-exists").code == 0
        assert desk.run(noun, verb, never[verb]).code == 4  # that taught it nothing


def test_what_a_snapshot_was_deleted_as_counts_in_its_region_alone(desk: AmiDesk) -> None:
    snapshot_id = make_snapshot(desk.ec2())
    desk.good("snapshots", "delete", snapshot_id)
    assert desk.run("snapshots", "delete", snapshot_id, "--region", WEST).code == 4


def test_a_region_that_there_is_not_is_told_with_those_that_may_be_meant(desk: AmiDesk) -> None:
    image_id = desk.image()
    elsewhere = desk.run("images", "copy", image_id, "--to", "eu-moon-9")
    assert elsewhere.code == 2
    assert "There are eu-central-1" in elsewhere.err
    assert "us-east-1" not in elsewhere.err.splitlines()[-1]
    asked = desk.run("images", "find", "--region", "eu-moon-9")
    assert "--region" in asked.err
    assert "access key" not in asked.err


def test_an_image_is_published_once_whole(desk: AmiDesk) -> None:
    image_id = desk.image()
    words = ("publish", image_id, "--to", f"{WEST},{CENTRAL}", "--account", OTHER_ACCOUNT)
    done = desk.good(*words, "--tag", "v=1")
    assert [one["region"] for one in done["images"]] == [HOME, WEST, CENTRAL]
    for one in done["images"]:
        shown = desk.good("images", one["image_id"], "--region", one["region"])
        assert shown["LaunchPermissions"] == [{"UserId": OTHER_ACCOUNT}]
        tags = {tag["Key"]: tag["Value"] for tag in shown["Tags"]}
        assert (tags["v"], tags[SHA256], tags[VERDICT]) == ("1", DISK_SHA256, "accepted")
        assert UNFINISHED not in tags
        for snapshot in shown["Snapshots"]:
            of_snapshot = {tag["Key"]: tag["Value"] for tag in snapshot["Tags"]}
            assert of_snapshot[SHA256] == DISK_SHA256
            assert UNFINISHED not in of_snapshot
        assert one["image_id"] in one["bookmark"]
    again = desk.good(*words, "--tag", "v=2")
    assert [one["image_id"] for one in again["images"]] == [
        one["image_id"] for one in done["images"]
    ]
    assert desk.state((HOME, WEST, CENTRAL)) == (3, 3)


def test_a_disk_is_registered_and_published_by_its_verdict(
    catalog: Path, tmp_path: Path, desk: AmiDesk
) -> None:
    disk = make_disk(tmp_path / "web.raw")
    verdict = write_verdict(tmp_path, accept(disk))
    words = ("publish", str(disk.path), "--name", "of a disk", "--to", WEST, "--tag", "v=1")
    assert desk.run(*words).code == 2
    with_verdict = (*words, "--verdict", str(verdict))
    with faulty(catalog, "denied:CopyImage") as serving:
        refused = AmiDesk(serving, desk.account).run(*with_verdict)
    assert refused.code == 4
    assert desk.state((HOME, WEST)) == (0, 0)
    done = desk.good(*with_verdict)
    assert [one["region"] for one in done["images"]] == [HOME, WEST]
    for region in (HOME, WEST):
        [image] = desk.images(region)
        tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
        assert (tags[SHA256], tags[VERDICT]) == (disk.sha256, "accepted")
    again = desk.good(*with_verdict)["images"]
    assert [one["image_id"] for one in again] == [one["image_id"] for one in done["images"]]
    assert desk.state((HOME, WEST)) == (2, 2)
    [home] = desk.images()
    of_image = desk.run("publish", home["ImageId"], "--verdict", str(verdict), "--unverified")
    assert (of_image.code, "not both" in of_image.err) == (2, True)
    desk.good("publish", home["ImageId"], "--verdict", str(verdict))
    assert desk.state((HOME, WEST)) == (2, 2)


def test_an_image_without_a_verdict_is_not_published_unless_so_wished(desk: AmiDesk) -> None:
    image_id = desk.image(tags={})
    refused = desk.run("publish", image_id, "--to", WEST)
    assert (refused.code, "--unverified" in refused.err) == (2, True)
    desk.good("publish", image_id, "--to", WEST, "--unverified")
    [copied] = desk.images(WEST)
    assert {"Key": VERDICT, "Value": "unverified"} in copied["Tags"]


def test_a_publication_that_is_refused_leaves_nothing(catalog: Path, desk: AmiDesk) -> None:
    image_id = desk.image()
    assert desk.run("publish", image_id, "--to", HOME).code == 2
    with_key = ("publish", image_id, "--to", f"{WEST}={KEY},{CENTRAL}", "--public")
    assert "share-encrypted" in desk.run(*with_key).err
    for fault in ("denied:CopyImage@2", "denied:ModifyImageAttribute@2", "denied:CreateTags@2"):
        with faulty(catalog, fault) as serving:
            there = AmiDesk(serving, desk.account)
            words = ("--to", f"{WEST},{CENTRAL}", "--account", OTHER_ACCOUNT, "--tag", "v=1")
            ran = there.run("publish", image_id, *words)
            assert ran.code == 4, ran.err
            assert "taken back" in ran.err
            assert there.state((WEST, CENTRAL)) == (0, 0), fault
            assert there.permissions(image_id) == []


def test_snapshots_are_copied_shared_and_tagged(desk: AmiDesk) -> None:
    snapshot_id = make_snapshot(desk.ec2())
    words = ("snapshots", "copy", snapshot_id, "--to", f"{WEST}={desk.key(WEST)}", "--wait")
    [first] = desk.good(*words)["copies"]
    assert desk.good(*words)["copies"] == [{**first, "new": False}]
    assert desk.snapshots(WEST) == [first["snapshot_id"]]
    desk.good("snapshots", "share", snapshot_id, "--account", OTHER_ACCOUNT)
    assert desk.good("snapshots", "show", snapshot_id)["CreateVolumePermissions"] == [
        {"UserId": OTHER_ACCOUNT}
    ]
    desk.good("snapshots", "unshare", snapshot_id, "--account", OTHER_ACCOUNT)
    assert desk.volume_permissions(snapshot_id) == []
    assert desk.good("snapshots", "tag", snapshot_id, "a=b")["tags"] == {"a": "b"}
    assert [one["SnapshotId"] for one in desk.good("snapshots", "list")] == [snapshot_id]
    there = ("--region", WEST)
    refused = desk.run("snapshots", "share", first["snapshot_id"], "--public", *there)
    assert "share-encrypted" in refused.err


def test_a_lost_answer_makes_no_second_copy(catalog: Path, desk: AmiDesk) -> None:
    image_id = desk.image()
    [snapshot_id] = desk.snapshots()
    actions = ("CopyImage", "CopySnapshot", "DeregisterImage", "DeleteSnapshot")
    with faulty(catalog, *(f"cut-after:{action}@1" for action in actions)) as serving:
        there = AmiDesk(serving, desk.account)
        there.good("images", "copy", image_id, "--to", WEST, "--wait")
        assert there.state((WEST,)) == (1, 1)
        there.good("snapshots", "copy", snapshot_id, "--to", CENTRAL)
        assert there.state((CENTRAL,)) == (0, 1)
        there.good("images", "deregister", image_id, "--with-snapshots")
        assert there.state((HOME,)) == (0, 0)


def test_gc_names_and_removes_what_imgforge_made_and_nothing_refers_to(desk: AmiDesk) -> None:
    image_id = desk.image()
    ec2 = desk.ec2()
    orphan, others = make_snapshot(ec2), make_snapshot(ec2)
    ec2.create_tags(Resources=[orphan], Tags=[{"Key": MADE, "Value": "upload"}])
    left = desk.image("half")
    ec2.create_tags(Resources=[left], Tags=[{"Key": UNFINISHED, "Value": "w"}])
    [of_left] = desk.good("images", left)["Snapshots"]
    assert desk.good("images", "gc", "--dry-run")["leftovers"] == []
    found = desk.good("images", "gc", "--dry-run", "--older-than", "0s")["leftovers"]
    assert [(one["kind"], one["id"]) for one in found] == [
        ("image", left),
        ("snapshot", orphan),
        ("snapshot", of_left["SnapshotId"]),
    ]
    asked = desk.run("images", "gc", "--older-than", "0s")
    assert (asked.code, "--yes" in asked.err, orphan in asked.err) == (2, True, True)
    assert desk.good("images", "gc", "--older-than", "0s", "--yes")["removed"] == 3
    assert [one["ImageId"] for one in desk.images()] == [image_id]
    assert others in desk.snapshots()
    assert orphan not in desk.snapshots()
    assert desk.good("images", "gc", "--older-than", "0s", "--yes") == {
        "leftovers": [],
        "regions": [HOME],
        "removed": 0,
    }


def test_another_accounts_image_is_shown_and_not_changed(
    desk: AmiDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_id = desk.image()
    desk.good("images", "share", image_id, "--account", OTHER_ACCOUNT)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OTHER_ACCOUNT)
    shown = desk.good("images", image_id)
    assert (shown["IsOwn"], shown["LaunchPermissions"]) == (False, None)
    for words in (("deregister",), ("protect",), ("tag", "a=b"), ("share", "--public")):
        ran = desk.run("images", words[0], image_id, *words[1:])
        assert (ran.code, "belongs to" in ran.err) == (2, True), words
    refused = desk.run("images", "copy", image_id, "--to", WEST)
    assert "copy-storage" in refused.err
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", desk.account)
    desk.good("images", "share", image_id, "--account", OTHER_ACCOUNT, "--with-snapshots")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OTHER_ACCOUNT)
    assert desk.good("images", "copy", image_id, "--to", WEST)["copies"]


def test_tables_fit_sixty_columns_and_pipes_get_whole_lines(desk: AmiDesk) -> None:
    image_id = desk.image("a name that is rather long for a table (of a narrow terminal)")
    ran = desk.run("images")
    assert any(line.startswith(image_id) for line in ran.out.splitlines())
    assert json.loads(desk.run("images", "--json").out)
    assert code_of(desk.ec2().describe_images, ImageIds=[image_id]) == ""


def test_what_is_left_in_several_regions_goes_by_one_command(desk: AmiDesk) -> None:
    left = {}
    for region in (HOME, WEST, CENTRAL):
        ec2 = desk.ec2(region)
        left[region] = make_snapshot(ec2)
        tags = [{"Key": MADE, "Value": "upload"}]
        ec2.create_tags(Resources=[left[region]], Tags=tags)
    words = ("images", "gc", "--older-than", "0s")
    two = desk.good(*words, "--dry-run", "--region", HOME, "--region", WEST)
    assert two["regions"] == [HOME, WEST]
    assert {(one["region"], one["id"]) for one in two["leftovers"]} == {
        (region, left[region]) for region in (HOME, WEST)
    }
    everywhere = desk.good(*words, "--dry-run", "--all-regions")
    assert set(left.values()) == {one["id"] for one in everywhere["leftovers"]}
    gone = desk.good(*words, "--yes", "--region", HOME, "--region", CENTRAL)
    assert gone["removed"] == 2
    [stays] = desk.good(*words, "--dry-run", "--all-regions")["leftovers"]
    assert (stays["region"], stays["id"], stays["removed"]) == (WEST, left[WEST], False)


def test_regions_are_named_or_all_of_them(desk: AmiDesk) -> None:
    assert desk.run("images", "gc", "--all-regions", "--region", HOME).code == 2
    assert desk.run("images", "gc", "--region", HOME, "--region", "eu-moon-9").code == 2


def test_a_name_that_a_plain_copy_has_is_told_with_the_way_out(desk: AmiDesk) -> None:
    image_id = desk.image()
    [copy] = desk.good("images", "copy", image_id, "--to", WEST, "--wait")["copies"]
    refused = desk.run("publish", image_id, "--to", WEST)
    assert refused.code == 2
    assert f"{copy['image_id']} is a copy of {image_id}" in refused.err
    assert f"imgforge images deregister {copy['image_id']} --region {WEST}" in refused.err
    assert "--name" in refused.err
    assert desk.run("publish", image_id, "--to", WEST, "--name", "web 2").code == 0


def test_a_copy_that_is_there_and_encrypted_is_not_made_public(desk: AmiDesk) -> None:
    image_id = desk.image()
    words = ("publish", image_id, "--to", f"{WEST}={desk.key(WEST)}")
    desk.good(*words)
    refused = desk.run(*words, "--public")
    assert refused.code == 2  # by our own rules, before anything is changed anywhere
    assert "an image with encrypted snapshots is not public" in refused.err
