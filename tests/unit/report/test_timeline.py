"""Stages become bars, and earlier boots a plot."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imgforge.report import BootEntry, BootOutcome, PastBoot, SignEntry, StageEntry
from imgforge.report.plot import MarkKind, plot
from imgforge.report.timeline import BarState, timeline

BOOT = BootEntry(
    "gate",
    outcome=BootOutcome.ACCEPTED,
    stages=(
        StageEntry("firmware", True, 0.0),
        StageEntry("bootloader", True, 2.0),
        StageEntry("kernel", True),
        StageEntry("init", True, 6.0),
        StageEntry("network", True, 8.0),
        StageEntry("metadata", True, 8.0),
        StageEntry("ssh", True, 10.0),
    ),
    seconds=11.0,
    login_s=10.0,
    accelerator="tcg",
    layout="hvm-mbr",
    boot_method="bios",
)
START = datetime(2026, 1, 2, tzinfo=UTC)


def past(login_s: float | None, *, hours: int = 0, accelerator: str = "tcg") -> PastBoot:
    return PastBoot(
        created=START + timedelta(hours=hours),
        accepted=login_s is not None,
        login_s=login_s,
        accelerator=accelerator,
        layout="hvm-mbr",
        boot_method="bios",
    )


def test_a_stage_lasts_until_the_next_one_that_showed_itself() -> None:
    found = timeline(BOOT)
    assert found is not None
    assert found.end_s == 10.0
    assert [(bar.name, bar.at_s, bar.lasted_s) for bar in found.bars] == [
        ("firmware", 0.0, 2.0),
        ("bootloader", 2.0, 4.0),
        ("kernel", None, None),
        ("init", 6.0, 2.0),
        ("network", 8.0, 0.0),
        ("metadata", 8.0, 2.0),
        ("ssh", 10.0, 0.0),
    ]
    bars = {bar.name: (bar.start_percent, bar.width_percent) for bar in found.bars}
    assert bars["bootloader"] == (20.0, 40.0)
    assert bars["kernel"] == (0.0, 0.0)
    assert all(start + width <= 100.001 for start, width in bars.values())


def test_the_stage_that_failed_lasts_to_the_end_of_the_boot() -> None:
    broken = replace(
        BOOT,
        stages=(
            StageEntry("firmware", True, 0.5),
            StageEntry("bootloader", True, 1.0),
            StageEntry("kernel", False),
        ),
        failed_stage="bootloader",
        sign=SignEntry("grub-error", "GRUB stopped", "Error 15", at_s=3.0),
        login_s=None,
        seconds=4.0,
    )
    found = timeline(broken)
    assert found is not None
    assert [bar.state for bar in found.bars] == [BarState.REACHED, BarState.FAILED, BarState.MISSED]
    assert found.bars[1].lasted_s == 3.0


def test_a_boot_of_which_no_stage_is_known_has_no_bars() -> None:
    assert timeline(BootEntry("machine")) is None


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_stages_without_seconds_have_no_width(seconds: float | None) -> None:
    found = timeline(BootEntry("machine", stages=(StageEntry("firmware", True, seconds),)))
    assert found is not None
    assert [bar.width_percent for bar in found.bars] == [0.0]


def test_stages_out_of_order_have_no_negative_width() -> None:
    stages = (
        StageEntry("network", True, 5.0),
        StageEntry("metadata", True, 3.0),
        StageEntry("ssh", True, 9.0),
    )
    found = timeline(replace(BOOT, stages=stages, login_s=9.0))
    assert found is not None
    assert [bar.lasted_s for bar in found.bars] == [4.0, 6.0, 0.0]


def test_a_boot_is_compared_with_earlier_ones_of_its_kind() -> None:
    history = [past(8.0), past(None, hours=1), past(1.0, accelerator="kvm"), past(9.0, hours=2)]
    found = plot(BOOT, history)
    assert found is not None
    assert [mark.kind for mark in found.marks] == [
        MarkKind.ACCEPTED,
        MarkKind.REJECTED,
        MarkKind.ACCEPTED,
        MarkKind.NOW,
    ]
    assert found.words == "login after 10.0 s, the median of 3 earlier boots is 8.5 s (+18 %)"
    xs = [mark.x_percent for mark in found.marks]
    assert xs == sorted(xs)
    assert found.marks[0].y > found.marks[2].y > found.marks[3].y
    assert [tick.seconds for tick in found.ticks] == [0, 2, 4, 6, 8, 10]


def test_without_an_earlier_boot_there_is_no_plot() -> None:
    assert plot(BOOT, []) is None
    assert plot(BOOT, [past(8.0, accelerator="kvm")]) is None
    assert plot(replace(BOOT, boot_method="xen-grub"), [past(8.0)]) is None
    assert plot(replace(BOOT, outcome=BootOutcome.UNJUDGED), [past(8.0)]) is None


@pytest.mark.parametrize("login_s", [None, 0.0, 0.0004, 3.3, 999_999_999.0])
def test_the_plot_holds_for_any_number_of_seconds(login_s: float | None) -> None:
    found = plot(replace(BOOT, login_s=login_s), [past(login_s)] * 200)
    assert found is not None
    assert 1 < len(found.ticks) <= 8
    assert len(found.marks) == 61
    assert all(0 <= mark.y <= 160 and 0 <= mark.x_percent <= 100 for mark in found.marks)


def test_a_history_of_rejections_is_told_so() -> None:
    found = plot(BOOT, [past(None)])
    assert found is not None
    assert found.words == "login after 10.0 s; no earlier one let anybody in (1 earlier boot)"
    assert found.median_y is None
