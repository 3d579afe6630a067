"""How tests ended, concluded from their phases; what a run ends with, and its last words."""

from imgforge.report import TestOutcome
from imgforge.testing.outcome import Conclusion, Phase, PhaseEnd, closing_lines, conclude, exit_code
from imgforge.testing.told import FailureKind

BOOT = """The console around it:
  | root (hd0,0)
  > Error 15: File not found
Rejected at stage bootloader: GRUB Legacy stopped with error 15 (File not found): Error 15: File not
found
Sign grub-error. Check the paths of `kernel` and `initrd` in menu.lst against the disk's files
(symbolic links that leave the file system and a separate /boot count too), or add a `fallback`
entry."""


def passed(attempt: int = 0) -> list[Phase]:
    return [Phase(attempt, PhaseEnd.PASSED, 0.5, is_last=number == 2) for number in range(3)]


def failed(kind: FailureKind = FailureKind.IMAGE, attempt: int = 0, text: str = "no") -> Phase:
    return Phase(attempt, PhaseEnd.FAILED, 1.0, kind=kind, text=text)


def test_what_passed_passed() -> None:
    assert conclude(passed()) == Conclusion(TestOutcome.PASSED, 1.5)


def test_a_failure_of_the_image_and_one_of_a_test_are_the_images() -> None:
    for kind in (FailureKind.IMAGE, FailureKind.TEST):
        assert conclude([failed(kind)]).outcome is TestOutcome.IMAGE


def test_a_failure_of_the_harness_is_its_own() -> None:
    assert conclude([failed(FailureKind.HARNESS)]).outcome is TestOutcome.HARNESS


def test_what_fails_in_both_ways_counts_against_the_image() -> None:
    phases = [failed(), failed(FailureKind.HARNESS, text="and its end")]
    ended = conclude(phases)
    assert ended.outcome is TestOutcome.IMAGE
    assert ended.failure == "no\n\nand its end"


def test_what_passes_when_run_again_is_flaky() -> None:
    ended = conclude([failed(text="first"), *passed(attempt=1)])
    assert (ended.outcome, ended.failure, ended.reason) == (TestOutcome.FLAKY, "first", "")


def test_a_flake_of_the_harness_says_so() -> None:
    ended = conclude([failed(FailureKind.HARNESS), *passed(attempt=1)])
    assert "harness" in ended.reason


def test_what_fails_twice_failed() -> None:
    ended = conclude([failed(text="first"), failed(FailureKind.HARNESS, attempt=1, text="then")])
    assert (ended.outcome, ended.failure) == (TestOutcome.HARNESS, "then")


def test_what_is_quarantined_keeps_its_failure() -> None:
    ended = conclude([failed()], quarantine="known (until 2026-12-31)")
    assert ended.outcome is TestOutcome.QUARANTINED
    assert (ended.failure, ended.reason) == ("no", "known (until 2026-12-31)")


def test_what_is_quarantined_and_passes_passed() -> None:
    assert conclude(passed(), quarantine="known").outcome is TestOutcome.PASSED


def test_a_quarantine_hides_no_failure_of_the_host() -> None:
    harness = failed(FailureKind.HARNESS, text="QEMU died.")
    assert conclude([harness], quarantine="known").outcome is TestOutcome.HARNESS
    ended = conclude([failed(), harness], quarantine="known")
    assert (ended.outcome, ended.failure) == (TestOutcome.HARNESS, "QEMU died.")


def test_what_was_skipped_says_why() -> None:
    phases = [Phase(0, PhaseEnd.SKIPPED, reason="no network"), *passed()[2:]]
    assert conclude(phases) == Conclusion(TestOutcome.SKIPPED, 0.5, reason="no network")


def test_what_came_to_no_end_is_no_pass() -> None:
    ended = conclude(passed()[:2])
    assert ended.outcome is TestOutcome.HARNESS
    assert ended.failure == "The run ended before the test did."
    assert conclude([]).outcome is TestOutcome.HARNESS
    assert conclude([failed(), *passed(attempt=1)[:1]]).outcome is TestOutcome.HARNESS


def test_the_exit_code_is_the_images_before_the_harness() -> None:
    good, image, harness = (
        Conclusion(outcome)
        for outcome in (TestOutcome.QUARANTINED, TestOutcome.IMAGE, TestOutcome.HARNESS)
    )
    assert exit_code([good]) == 0
    assert exit_code([good, image]) == 1
    assert exit_code([good, harness]) == 3
    assert exit_code([harness, image]) == 1


def test_the_last_words_name_stage_sign_and_hint_at_80_columns() -> None:
    ended = {name: Conclusion(TestOutcome.IMAGE, failure=BOOT) for name in ("t.py::a", "t.py::b")}
    assert closing_lines(ended, width=80, most_lines=7) == [
        "FAILED t.py::a (and 1 more for the same reason)",
        "Rejected at stage bootloader: GRUB Legacy stopped with error 15 (File not",
        "found): Error 15: File not found",
        "Sign grub-error. Check the paths of `kernel` and `initrd` in menu.lst against",
        "the disk's files (symbolic links that leave the file system and a separate /boot",
        "count too), or add a `fallback` entry.",
    ]


def test_the_last_words_are_few_on_a_narrow_terminal() -> None:
    ended = {"t.py::a": Conclusion(TestOutcome.IMAGE, failure=BOOT)}
    lines = closing_lines(ended, width=40, most_lines=7)
    assert len(lines) == 7
    assert max(map(len, lines)) <= 40
    assert any(line.startswith("Rejected at stage bootloader") for line in lines)
    assert any(line.startswith("Sign grub-error. Check the paths") for line in lines)


def test_the_last_words_on_a_command_have_what_it_said() -> None:
    text = "ls /x: must succeed, ended with 1.\n  | before\n  | ls: /x: No such file"
    ended = {"t.py::a": Conclusion(TestOutcome.IMAGE, failure=text)}
    assert closing_lines(ended, width=80, most_lines=7) == [
        "FAILED t.py::a",
        "ls /x: must succeed, ended with 1.",
        "| before",
        "| ls: /x: No such file",
    ]


def test_a_failure_of_the_harness_is_told_where_the_image_is_good() -> None:
    bad = Conclusion(TestOutcome.HARNESS, failure="QEMU died.")
    ended = {"a": Conclusion(TestOutcome.PASSED), "b": bad}
    assert closing_lines(ended, width=80, most_lines=7) == ["HARNESS b", "QEMU died."]
    ended["c"] = Conclusion(TestOutcome.IMAGE, failure="no\x1b[2J")
    lines = closing_lines(ended, width=80, most_lines=7)
    assert lines == ["FAILED c", "no^[[2J", "and 1 other: b"]


def test_other_failures_are_counted_and_named_on_a_narrow_terminal() -> None:
    failures = {"a": BOOT, "b": BOOT, "c": "no", "d_with_a_long_name_of_its_own": "never", "e": "x"}
    ended = {
        f"tests/t.py::test_{name}": Conclusion(TestOutcome.IMAGE, failure=text)
        for name, text in failures.items()
    }
    ended["tests/t.py::test_h"] = Conclusion(TestOutcome.HARNESS, failure="QEMU died.")
    lines = closing_lines(ended, width=60, most_lines=7)
    assert lines[0] == "FAILED tests/t.py::test_a (and 1 more for the same reason)"
    assert lines[1].startswith("Rejected at stage bootloader")
    assert any(line.startswith("Sign grub-error.") for line in lines)
    assert lines[-1] == "and 4 others: test_c, test_d_with_a_long_name_of_its_own, …"
    assert len(lines) == 7
    assert max(map(len, lines)) <= 60


def test_a_long_name_is_not_cut_and_leaves_room_for_the_reason() -> None:
    name = f"../../{'x' * 90}/test_it.py::test_a"
    ended = {test: Conclusion(TestOutcome.IMAGE, failure=BOOT) for test in (name, "b")}
    first, *others = closing_lines(ended, width=80, most_lines=7)
    assert first == f"FAILED {name} (and 1 more for the same reason)"
    assert len(others) == 5  # the name takes two rows
    assert any(line.startswith("Sign grub-error.") for line in others)
    hostile = {"x" * 5000: Conclusion(TestOutcome.IMAGE, failure="no")}
    assert len(closing_lines(hostile, width=80, most_lines=7)) <= 4


def test_nothing_is_said_where_nothing_failed() -> None:
    ended = {"a": Conclusion(TestOutcome.FLAKY, failure="x")}
    assert closing_lines(ended, width=80, most_lines=7) == []


def test_a_failure_without_words_is_told() -> None:
    ended = {"a": Conclusion(TestOutcome.IMAGE, failure="")}
    assert closing_lines(ended, width=80, most_lines=7) == ["FAILED a"]
