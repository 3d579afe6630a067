"""What marks make of a machine."""

from pathlib import Path

import pytest

from imgforge.disk import Disk
from imgforge.machine import Accelerator, AcceleratorKind
from imgforge.metadata import Access, HttpTokens, MetadataOptions
from imgforge.recipe import ExpectPart
from imgforge.testing.marked_plan import MarkError, apply_marks
from imgforge.testing.marks import MARK_NAMES, Mark
from imgforge.testing.plan import Image, Plan, Start

DISK = Disk(Path("/disks/x.raw"), sha256="0" * 64, size_bytes=2**26, layout=None)
PLAN = Plan(
    image=Image(DISK, ExpectPart()), accelerator=Accelerator(AcceleratorKind.TCG, "max", "asked")
)


def test_without_marks_a_machine_is_forked_from_a_t2_micro() -> None:
    plan = apply_marks(PLAN, [])
    assert plan == PLAN
    assert plan.profile.name == "t2.micro"
    assert plan.why_cold == ""


def test_each_mark_changes_what_it_says() -> None:
    plan = apply_marks(
        PLAN,
        [
            Mark("instance_type", ("m3.medium",)),
            Mark("user_data", ("#!/bin/sh\n",)),
            Mark("root_volume", (10,)),
            Mark("volumes", (1, 20)),
            Mark("metadata_options", (), {"http_tokens": "required"}),
            Mark("new_instance"),
        ],
    )
    assert plan.profile.instance_store_gib == (4,)
    assert plan.user_data == b"#!/bin/sh\n"
    assert plan.root_gib == 10
    assert plan.volumes_gib == (1, 20)
    assert plan.metadata_options.http_tokens is HttpTokens.REQUIRED
    assert plan.is_new_instance
    assert plan.start is Start.FORK


def test_options_of_several_marks_come_together() -> None:
    plan = apply_marks(
        PLAN,
        [
            Mark("metadata_options", (), {"http_tokens": "required"}),
            Mark("metadata_options", (), {"instance_metadata_tags": "enabled"}),
            Mark("tags", (), {"Name": "web"}),
            Mark("tags", (), {"a:b": "c"}),
        ],
    )
    assert plan.metadata_options == MetadataOptions(
        http_tokens=HttpTokens.REQUIRED, instance_metadata_tags=Access.ENABLED
    )
    assert plan.tags == (("Name", "web"), ("a:b", "c"))


def test_a_tag_that_the_metadata_cannot_show_is_refused_where_it_should() -> None:
    tagged = Mark("tags", (), {"a/b": "c"})
    assert apply_marks(PLAN, [tagged]).tags
    with pytest.raises(MarkError, match="a/b"):
        apply_marks(
            PLAN, [tagged, Mark("metadata_options", (), {"instance_metadata_tags": "enabled"})]
        )


def test_the_inner_mark_has_the_last_word() -> None:
    marks = [Mark("instance_type", ("t2.nano",)), Mark("instance_type", ("t2.small",))]
    assert apply_marks(PLAN, marks).profile.name == "t2.small"


def test_faults_are_there_from_the_power_on_so_the_machine_is_booted() -> None:
    faulty = apply_marks(
        PLAN,
        [Mark("faults", ("/user-data",), {"status": 500}), Mark("faults", ("/x",), {"delay_s": 2})],
    )
    assert [fault.path for fault in faulty.faults] == ["/user-data", "/x"]
    assert faulty.why_cold


def test_a_machine_with_nvme_disks_cannot_be_forked_and_says_so() -> None:
    plan = apply_marks(PLAN, [Mark("instance_type", ("t3.nano",))])
    assert "NVMe" in plan.why_cold


@pytest.mark.parametrize(
    "mark",
    [
        Mark("instance_type", ("t9.huge",)),
        Mark("instance_type", ()),
        Mark("user_data", (7,)),
        Mark("user_data", (b"x" * (16 * 1024 + 1),)),
        Mark("volumes", (1,) * 13),
        Mark("root_volume", (0,)),
        Mark("root_volume", ("10",)),
        Mark("volumes", ()),
        Mark("volumes", (1, -1)),
        Mark("volumes", (True,)),
        Mark("metadata_options", (), {"http_tokens": "maybe"}),
        Mark("metadata_options", (), {}),
        Mark("metadata_options", ("required",), {}),
        Mark("metadata_options", (), {"http_endpoint": True}),
        Mark("metadata_options", (), {"http_put_response_hop_limit": 65}),
        Mark("metadata_options", (), {"http_put_response_hop_limit": True}),
        Mark("metadata_options", (), {"colour": "red"}),
        Mark("tags", (), {}),
        Mark("tags", (), {"Name": 7}),
        Mark("faults", ()),
        Mark("faults", ("/x",), {"status": 1}),
        Mark("faults", ("/x",), {"colour": "red"}),
        Mark("faults", ("x",), {"status": 500}),
        Mark("cold_boot", (1,)),
        Mark("power_on", ("now",)),
    ],
)
def test_a_mark_that_is_none_is_refused_by_its_name(mark: Mark) -> None:
    with pytest.raises(MarkError, match=mark.name):
        apply_marks(PLAN, [mark])


def test_a_wrong_instance_type_is_told_the_right_ones() -> None:
    with pytest.raises(MarkError, match=r"t9\.huge.*t2\.micro.*m3\.medium"):
        apply_marks(PLAN, [Mark("instance_type", ("t9.huge",))])


def test_every_mark_that_is_told_does_something() -> None:
    good = {
        "instance_type": Mark("instance_type", ("t2.nano",)),
        "user_data": Mark("user_data", (b"x",)),
        "root_volume": Mark("root_volume", (1,)),
        "volumes": Mark("volumes", (1,)),
        "metadata_options": Mark("metadata_options", (), {"http_tokens": "required"}),
        "tags": Mark("tags", (), {"Name": "web"}),
        "faults": Mark("faults", ("/",), {"status": 500}),
        "cold_boot": Mark("cold_boot"),
        "power_on": Mark("power_on"),
        "new_instance": Mark("new_instance"),
        "nocloud": Mark("nocloud"),
    }
    assert set(good) == MARK_NAMES
    for mark in good.values():
        assert apply_marks(PLAN, [mark]) != PLAN


def test_a_seeded_machine_is_booted_for_its_test() -> None:
    plan = apply_marks(PLAN, [Mark("nocloud")])
    assert plan.is_seeded
    assert plan.why_cold == "its seed is of this machine alone"


def test_too_much_user_data_is_told_as_everywhere() -> None:
    with pytest.raises(MarkError, match=r"16385 bytes, where EC2 takes at most 16384"):
        apply_marks(PLAN, [Mark("user_data", (b"x" * 16385,))])
