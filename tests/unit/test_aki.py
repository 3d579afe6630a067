"""The guide's table of AKIs, and what is newer than what."""

import pytest

from imgforge.aki import (
    AKIS,
    REGIONS,
    AkiArchitecture,
    AkiPlace,
    AkiState,
    advise,
    equal_aki,
    find_akis,
    identify,
    listed_pv_grub,
    parse_name,
    read_pv_grub,
    update_commands,
)
from imgforge.errors import BadInputError


def test_the_table_is_the_guides() -> None:
    assert (len(AKIS), len(REGIONS)) == (20, 10)
    assert len({aki.aki_id for aki in AKIS}) == 20
    assert {aki.pv_grub.name for aki in AKIS} == {
        "pv-grub-hd0_1.05-i386.gz",
        "pv-grub-hd0_1.05-x86_64.gz",
    }
    frankfurt = find_akis(region="eu-central-1", architecture=AkiArchitecture.X86_64)
    assert [aki.aki_id for aki in frankfurt] == ["aki-931fe3fc"]
    assert find_akis(place=AkiPlace.HD00) == ()


def test_the_guides_own_example_is_the_newest() -> None:
    aki = identify("aki-70cb0e10")
    assert aki is not None
    assert (aki.region, aki.pv_grub.name) == ("us-west-2", "pv-grub-hd0_1.05-x86_64.gz")
    advice = advise(aki.pv_grub, region=aki.region)
    assert (advice.state, advice.successor) == (AkiState.NEWEST, aki)


def test_an_older_one_has_a_successor_of_its_kind() -> None:
    old = parse_name("pv-grub-hd0_1.03-i386.gz")
    assert old is not None
    assert not old.knows_gpt
    assert not old.looks_everywhere
    advice = advise(old, region="us-east-1")
    assert advice.state is AkiState.OUTDATED
    assert advice.successor is not None
    assert advice.successor.aki_id == "aki-04206613"
    assert advise(old, region=None).state is AkiState.OUTDATED


@pytest.mark.parametrize("region", [None, "us-east-1"])
def test_a_release_beyond_the_newest_is_none_that_is_listed(region: str | None) -> None:
    advice = advise(parse_name("pv-grub-hd0_9.99-x86_64.gz"), region=region)
    assert (advice.state, advice.successor) == (AkiState.NOT_LISTED, None)


def test_hd00_is_not_listed_and_has_an_alternative() -> None:
    advice = advise(parse_name("pv-grub-hd00_1.04-x86_64.gz"), region="us-west-1")
    assert (advice.state, advice.successor) == (AkiState.OUTDATED, None)
    assert advice.alternative is not None
    assert advice.alternative.aki_id == "aki-59cc8239"
    newest = advise(parse_name("pv-grub-hd00_1.05-x86_64.gz"), region="us-west-1")
    assert newest.state is AkiState.NOT_LISTED


def test_each_aki_has_its_equal_in_each_region() -> None:
    for aki in AKIS:
        for region in REGIONS:
            equal = equal_aki(aki.aki_id, region=region)
            assert (equal.region, equal.pv_grub) == (region, aki.pv_grub)
        assert equal_aki(aki.aki_id, region=aki.region) == aki


def test_an_equal_that_cannot_be_told_is_said() -> None:
    with pytest.raises(BadInputError, match="aki-919dcaf8: the guide does not list it"):
        equal_aki("aki-919dcaf8", region="us-east-1")
    with pytest.raises(BadInputError, match="mars-1: the guide lists no PV-GRUB there"):
        equal_aki(AKIS[0].aki_id, region="mars-1")


def test_the_update_is_the_guides_procedure() -> None:
    aki = identify("aki-70cb0e10")
    assert aki is not None
    commands = update_commands("i-1", aki)
    assert [command[2] for command in commands] == [
        "stop-instances", "wait", "modify-instance-attribute", "start-instances",
    ]  # fmt: skip
    assert all(command[-2:] == ("--region", "us-west-2") for command in commands)
    assert commands[2][5:7] == ("--kernel", "aki-70cb0e10")


@pytest.mark.parametrize(
    "name", ["", "pv-grub", "pv-grub-hd1_1.05-i386.gz", "PV-GRUB-hd0_1.05-i386.gz"]
)
def test_what_is_no_pv_grubs_name_is_none(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize("text", ["aki-xyz", "aki-00000000", "ami-12345678", "aki-"])
def test_what_cannot_be_told_is_said(text: str) -> None:
    with pytest.raises(BadInputError):
        read_pv_grub(text)


def test_a_region_without_pv_is_refused() -> None:
    with pytest.raises(BadInputError, match="eu-north-1: the guide lists no PV-GRUB"):
        find_akis(region="eu-north-1")


@pytest.mark.parametrize("kernel_id", [None, "", "x", "aki-", "aki-00000000", "ami-5c21674b"])
def test_an_images_kernel_id_that_is_not_listed_names_no_pv_grub(kernel_id: str | None) -> None:
    assert listed_pv_grub(kernel_id) is None


def test_an_images_kernel_id_names_its_pv_grub() -> None:
    assert listed_pv_grub("aki-5c21674b") == parse_name("pv-grub-hd0_1.05-x86_64.gz")
