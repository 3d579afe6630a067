"""What dom0 says of its guest is understood, and nobody else can say it."""

import pytest

from imgforge.machine import EndReason
from imgforge.machine.xen.words import Said, Word, is_trouble, judge_end, read_words


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("imgforge-xen: ready", Said(Word.READY)),
        ("imgforge-xen: loaded", Said(Word.LOADED)),
        ("imgforge-xen: ended 0", Said(Word.ENDED, "0")),
        ("imgforge-xen: refused: xc: error: panic", Said(Word.REFUSED, "xc: error: panic")),
        (
            "imgforge-xen: failed: xl made no guest: memory",
            Said(Word.FAILED, "xl made no guest: memory"),
        ),
        ("imgforge-xen: failed", Said(Word.FAILED)),
    ],
)
def test_a_line_of_dom0_s_is_understood(line: str, said: Said) -> None:
    assert read_words(line) == said


@pytest.mark.parametrize(
    "line",
    [
        "",
        "imgforge-xen: module bridge: File exists",
        "(d1) imgforge-xen: ended 0",
        "(XEN) imgforge-xen: ready",
        "x imgforge-xen: ready",
        "imgforge-xen: readyish",
        "imgforge-xen:",
    ],
)
def test_any_other_line_says_nothing(line: str) -> None:
    assert read_words(line) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("0", EndReason.GUEST_SHUTDOWN),
        ("1", EndReason.GUEST_RESET),
        ("3", EndReason.GUEST_PANIC),
        ("4", EndReason.GUEST_PANIC),
        ("2", EndReason.GUEST_SHUTDOWN),
        ("5", EndReason.GUEST_RESET),
        ("99", EndReason.GUEST_SHUTDOWN),
        ("4294967295", EndReason.GUEST_SHUTDOWN),
        ("", EndReason.APPLIANCE_FAILED),
        ("-1", EndReason.APPLIANCE_FAILED),
        ("x", EndReason.APPLIANCE_FAILED),
    ],
)
def test_xen_s_reason_for_an_end_is_the_guest_s_where_it_can_be(
    code: str, reason: EndReason
) -> None:
    assert judge_end(Said(Word.ENDED, code))[0] is reason


def test_a_crash_is_told_with_xen_s_last_complaint() -> None:
    line = "(XEN) domain_crash called from traps.c:1234"
    assert is_trouble(line)
    assert judge_end(Said(Word.ENDED, "3"), trouble=line)[1] == f"Xen's reason is crash: {line}"
    assert judge_end(Said(Word.ENDED, "0"), trouble=line)[1] == "Xen's reason is poweroff"


def test_a_refused_kernel_is_the_image_s_and_a_failure_is_the_host_s() -> None:
    assert judge_end(Said(Word.REFUSED, "no loader"))[0] is EndReason.KERNEL_REFUSED
    assert judge_end(Said(Word.FAILED, "no memory"))[0] is EndReason.APPLIANCE_FAILED
