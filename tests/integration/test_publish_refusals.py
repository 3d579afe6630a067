"""What forbids copying and publishing is told all at once, before anything is made."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ami_desk import HOME, AmiDesk, Ran, credentials, new_account
from tests.registering import make_disk
from tests.serving import OTHER_ACCOUNT, Serving

WEST, CENTRAL, SOUTH = "eu-west-1", "eu-central-1", "sa-east-1"
REGIONS = (HOME, WEST, CENTRAL, SOUTH)
DEFAULT_KEY = "alias/aws/ebs"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    catalog = tmp_path_factory.mktemp("served") / "catalog"
    with Serving(catalog, "--latency", "0s") as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> AmiDesk:
    account = new_account()
    for name, value in credentials(tmp_path / "data", account).items():
        monkeypatch.setenv(name, value)
    return AmiDesk(serving, account)


@pytest.fixture
def disk(tmp_path: Path) -> str:
    return str(make_disk(tmp_path / "web.raw").path)


def default_key(desk: AmiDesk, region: str) -> str:
    """Return the ARN of the account's own key for EBS."""
    kms = desk.serving.client("kms", region=region, account=desk.account)
    return str(kms.describe_key(KeyId=DEFAULT_KEY)["KeyMetadata"]["Arn"])


def assert_refused_early(desk: AmiDesk, ran: Ran, *, images: int = 0) -> None:
    assert ran.code == 2, ran.err
    assert "taken back" not in ran.err
    assert desk.state(REGIONS) == (images, images)


def test_a_disk_is_not_uploaded_for_a_region_that_it_is_in(desk: AmiDesk, disk: str) -> None:
    ran = desk.run("publish", disk, "--unverified", "--name", "early1", "--to", HOME)
    assert_refused_early(desk, ran)
    assert f"Region {HOME}: is where the image is registered" in ran.err
    assert "ami-" not in ran.err


def test_a_disk_is_not_uploaded_for_regions_that_there_are_not(desk: AmiDesk, disk: str) -> None:
    words = ("--name", "early2", "--to", f"mars-1,{HOME},venus-1")
    ran = desk.run("publish", disk, "--unverified", *words)
    assert_refused_early(desk, ran)
    for told in ("'mars-1'", "'venus-1'", f"Region {HOME}"):
        assert told in ran.err


def test_a_disk_is_not_uploaded_for_copies_that_cannot_be_shared(desk: AmiDesk, disk: str) -> None:
    to = f"{WEST}={DEFAULT_KEY},{SOUTH},{CENTRAL}"
    words = ("--name", "kill1", "--to", to, "--encrypt", "--account", OTHER_ACCOUNT)
    ran = desk.run("publish", disk, "--unverified", *words)
    assert_refused_early(desk, ran)
    for region in (WEST, SOUTH, CENTRAL):
        assert f"A copy of 'kill1' in {region} cannot be shared so" in ran.err
    assert ran.err.count("the copy of its snapshot is encrypted") == 3


def test_a_disk_is_not_uploaded_for_a_name_that_is_taken_anywhere(desk: AmiDesk, disk: str) -> None:
    image_id = desk.image("taken")
    [copy] = desk.good("images", "copy", image_id, "--to", WEST, "--wait")["copies"]
    words = ("--name", "taken", "--to", f"{WEST},mars-1", "--account", "12")
    ran = desk.run("publish", disk, "--unverified", *words)
    assert_refused_early(desk, ran, images=2)
    assert f"the name belongs to {image_id}" in ran.err
    assert f"already in use by AMI {copy['image_id']}" in ran.err
    assert "'mars-1'" in ran.err
    assert 'invalid attribute item value "12"' in ran.err
    assert "--replace" not in ran.err  # which publish does not have


def test_a_disk_that_is_registered_already_is_published_on(desk: AmiDesk, disk: str) -> None:
    words = ("publish", disk, "--unverified", "--name", "go on", "--to")
    [home] = desk.good(*words[:-1])["images"]
    refused = desk.run(*words, HOME)
    assert refused.code == 2
    assert f"imgforge images copy {home['image_id']} --to {HOME} --name NAME" in refused.err
    assert [one["ImageId"] for one in desk.images()] == [home["image_id"]]
    done = desk.good(*words, WEST)["images"]
    assert [one["region"] for one in done] == [HOME, WEST]
    assert done[0]["image_id"] == home["image_id"]


@pytest.mark.parametrize("form", ["alias", "alias ARN", "ARN", "id"])
def test_the_accounts_own_key_for_ebs_is_no_key_to_share_with(desk: AmiDesk, form: str) -> None:
    arn = default_key(desk, WEST)
    key = {
        "alias": DEFAULT_KEY,
        "alias ARN": f"{arn.rpartition(':')[0]}:{DEFAULT_KEY}",
        "ARN": arn,
        "id": arn.rpartition("/")[2],
    }[form]
    image_id = desk.image()
    ran = desk.run("publish", image_id, "--to", f"{WEST}={key}", "--account", OTHER_ACCOUNT)
    assert_refused_early(desk, ran, images=1)
    assert "share-default-key" in ran.err
    own = f"{WEST}={desk.key(WEST)}"
    desk.good("publish", image_id, "--to", own, "--account", OTHER_ACCOUNT)


def test_a_copy_with_the_accounts_own_key_is_not_shared_afterwards(desk: AmiDesk) -> None:
    words = ("images", "copy", desk.image(), "--to", f"{WEST}={DEFAULT_KEY}", "--wait")
    [copy] = desk.good(*words)["copies"]
    whom = (copy["image_id"], "--region", WEST, "--account", OTHER_ACCOUNT)
    for more in ((), ("--with-snapshots",)):
        ran = desk.run("images", "share", *whom, *more)
        assert (ran.code, "share-default-key" in ran.err) == (2, True)
    [snapshot] = desk.snapshots(WEST)
    ran = desk.run("snapshots", "share", snapshot, *whom[1:])
    assert (ran.code, "share-default-key" in ran.err) == (2, True)


def test_all_that_is_wrong_with_a_copy_is_told_at_once(desk: AmiDesk) -> None:
    image_id = desk.image()
    to = f"{WEST}={desk.key(HOME)},mars-1,{CENTRAL}={desk.key(SOUTH)}"
    ran = desk.run("images", "copy", image_id, "--to", to, "--name", "x")
    assert_refused_early(desk, ran, images=1)
    assert "Region 'mars-1': is none that this account may use." in ran.err
    for region in (WEST, CENTRAL):
        assert f"cannot be copied into {region}" in ran.err
    assert ran.err.count("copy-key-region") == 2
    [snapshot] = desk.snapshots()
    ran = desk.run("snapshots", "copy", snapshot, "--to", to)
    assert_refused_early(desk, ran, images=1)
    assert ran.err.count("copy-key-region") == 2
    assert "'mars-1'" in ran.err
