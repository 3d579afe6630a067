"""A boot record becomes a verdict, and a verdict becomes words and verdict.json."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgforge.acceptance import (
    BootMethod,
    BootRecord,
    DiskReport,
    LoginAttempt,
    SeenSign,
    Stage,
    StageName,
    Verdict,
    explain,
    host_failure,
    judge,
    read_verdict,
    write_verdict,
)
from imgforge.acceptance.record import CommandResult, LoginId, LoginOutcome, PatternSeen
from imgforge.errors import BadInputError, HostError
from imgforge.machine import Accelerator, AcceleratorKind, EndReason, MachineEnded
from imgforge.metadata import MetadataRequest
from imgforge.recipe import ExpectPart, Layout
from imgforge.report import read_boot

DISK = DiskReport(sha256_before="a" * 64, sha256_after="a" * 64, layout=Layout.HVM_MBR)
EXPECT = ExpectPart()
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "/2009-04-04/meta-data/public-keys/0/openssh-key"
FETCHED = MetadataRequest(4.5, "GET", KEY, "2009-04-04", False, 200, "Wget")
OWNER = LoginAttempt(LoginId.OWNER, "root", LoginOutcome.LET_IN, (), "root", 9.0)
OTHER = LoginAttempt(
    LoginId.OTHER_KEY,
    "root",
    LoginOutcome.REFUSED,
    ("publickey",),
    "root@127.0.0.1: Permission denied (publickey).",
    10.0,
)
GOOD = BootRecord(
    stages=tuple(Stage(name, True, float(n)) for n, name in enumerate(StageName)),
    sign=None,
    ended=None,
    logins=(OWNER, OTHER),
    commands=(),
    requests=(FETCHED,),
    host_keys=("ssh-ed25519 AAAA",),
    must_show=(),
    must_not_show=(),
    console_lines=("one", "two", "three"),
    accelerator=Accelerator(AcceleratorKind.TCG, "max", "there is no /dev/kvm"),
    qemu_version="7.2.22",
    boot_method=BootMethod.BIOS,
    seconds=12.3456,
)
SIGN = SeenSign(
    "grub-error",
    "GRUB Legacy stopped with error 15 (File not found)",
    "Error 15: File not found",
    2.0,
    "Check the paths.",
    StageName.BOOTLOADER,
)


def verdict_on(
    record: BootRecord,
    *,
    expect: ExpectPart = EXPECT,
    disk: DiskReport = DISK,
) -> Verdict:
    return judge(
        record,
        expect=expect,
        disk=disk,
        recipe_sha256="r" * 64,
        lock_sha256="l" * 64,
        created=CREATED,
    )


def failed_checks(verdict: Verdict) -> list[str]:
    return [check.id for check in verdict.checks if not check.passed]


def test_accepts_a_boot_in_which_everything_holds() -> None:
    verdict = verdict_on(GOOD)
    assert verdict.accepted
    assert failed_checks(verdict) == []
    assert verdict.failed_stage is None
    assert verdict.reason.startswith("Accepted: logged in by SSH 8.0 s after power-on")
    assert [check.id for check in verdict.checks] == [
        "booted",
        "host-key-on-console",
        "key-fetched",
        "other-key-refused",
        "password-refused",
        "root-password-refused",
        "disk-unchanged",
    ]


def test_a_key_that_no_service_tells_is_not_looked_for() -> None:
    why = "a NoCloud seed tells the machine its key: its metadata service is off"
    verdict = verdict_on(replace(GOOD, requests=(), service_off=why))
    assert verdict.accepted
    assert "key-fetched" not in [check.id for check in verdict.checks]
    assert [(check.id, check.reason) for check in verdict.skipped] == [("key-fetched", why)]
    assert verdict.reason.endswith("and all 6 checks hold.")


def test_the_report_says_what_was_not_looked_for(tmp_path: Path) -> None:
    verdict = verdict_on(replace(GOOD, requests=(), service_off="its metadata service is off"))
    boot = read_boot(tmp_path, name="gate", verdict=verdict)
    assert "key-fetched does not apply: its metadata service is off." in boot.notes


def test_rejects_a_boot_in_which_nothing_was_looked_at() -> None:
    record = replace(
        GOOD,
        stages=tuple(replace(stage, reached=False, seconds=None) for stage in GOOD.stages),
        logins=(),
        requests=(),
        host_keys=(),
    )
    verdict = verdict_on(record)
    assert not verdict.accepted
    assert verdict.failed_stage is StageName.FIRMWARE
    assert set(failed_checks(verdict)) == {check.id for check in verdict.checks} - {
        "disk-unchanged"
    }


@pytest.mark.parametrize(
    ("record", "check", "stage"),
    [
        (replace(GOOD, requests=()), "key-fetched", StageName.METADATA),
        (replace(GOOD, requests=(replace(FETCHED, status=404),)), "key-fetched", "metadata"),
        (replace(GOOD, requests=(replace(FETCHED, path="/latest/"),)), "key-fetched", "metadata"),
        (replace(GOOD, host_keys=()), "host-key-on-console", StageName.SSH),
        (replace(GOOD, logins=(OTHER,)), "booted", StageName.SSH),
        (
            replace(GOOD, logins=(replace(OWNER, outcome=LoginOutcome.WRONG_ANSWER), OTHER)),
            "booted",
            StageName.SSH,
        ),
        (replace(GOOD, logins=(OWNER,)), "other-key-refused", StageName.SSH),
        (
            replace(GOOD, logins=(OWNER, replace(OTHER, outcome=LoginOutcome.LET_IN))),
            "other-key-refused",
            StageName.SSH,
        ),
        (
            replace(GOOD, logins=(OWNER, replace(OTHER, outcome=LoginOutcome.WRONG_ANSWER))),
            "other-key-refused",
            StageName.SSH,
        ),
        (
            replace(GOOD, logins=(OWNER, replace(OTHER, methods=("publickey", "password")))),
            "password-refused",
            StageName.SSH,
        ),
        (
            replace(GOOD, logins=(OWNER, replace(OTHER, methods=("keyboard-interactive",)))),
            "root-password-refused",
            StageName.SSH,
        ),
        (replace(GOOD, logins=(OWNER, replace(OTHER, methods=()))), "password-refused", "ssh"),
        (replace(GOOD, must_show=(PatternSeen("x", None),)), "console-shows:x", None),
        (replace(GOOD, must_not_show=(PatternSeen("x", "ax"),)), "console-does-not-show:x", None),
    ],
)
def test_rejects_a_boot_with_one_thing_wrong(
    record: BootRecord, check: str, stage: StageName | None
) -> None:
    verdict = verdict_on(record)
    assert not verdict.accepted
    assert check in failed_checks(verdict)
    assert verdict.failed_stage == stage
    assert verdict.reason.startswith("Rejected")


def test_root_is_knocked_at_too_where_somebody_else_logs_in() -> None:
    expect = ExpectPart(login_user="debian")
    assert set(failed_checks(verdict_on(GOOD, expect=expect))) == {
        "other-key-refused",
        "root-password-refused",
    }
    root = replace(OTHER, id=LoginId.OTHER_KEY_ROOT)
    record = replace(GOOD, logins=(OWNER, OTHER, root))
    assert verdict_on(record, expect=expect).accepted
    offered = replace(root, methods=("publickey", "password"))
    record = replace(GOOD, logins=(OWNER, OTHER, offered))
    assert failed_checks(verdict_on(record, expect=expect)) == ["root-password-refused"]


@pytest.mark.parametrize("after", ["b" * 64, ""])
def test_rejects_a_disk_that_changed(after: str) -> None:
    disk = DiskReport(sha256_before="a" * 64, sha256_after=after, layout=None)
    assert failed_checks(verdict_on(GOOD, disk=disk)) == ["disk-unchanged"]


def test_rejects_a_disk_without_a_digest() -> None:
    disk = DiskReport(sha256_before="", sha256_after="", layout=None)
    assert failed_checks(verdict_on(GOOD, disk=disk)) == ["disk-unchanged"]


def test_each_command_is_a_check_of_its_own_run_or_not() -> None:
    expect = ExpectPart(commands=("true", "false", "sleep 9", "never"))
    record = replace(
        GOOD,
        commands=(
            CommandResult("true", 0, "fine"),
            CommandResult("false", 1, "no output"),
            CommandResult("sleep 9", None, "did not end within 5 s"),
        ),
    )
    verdict = verdict_on(record, expect=expect)
    assert failed_checks(verdict) == ["command:2", "command:3", "command:4"]
    assert verdict.checks[-4].evidence == "true: exit code 0\nfine"


def test_a_sign_rejects_though_every_check_holds() -> None:
    verdict = verdict_on(replace(GOOD, sign=SIGN))
    assert not verdict.accepted
    assert verdict.failed_stage is StageName.BOOTLOADER
    assert verdict.reason == (
        "Rejected at stage bootloader: GRUB Legacy stopped with error 15 (File not found): "
        "Error 15: File not found"
    )


def test_a_sign_without_a_stage_is_told_at_the_first_stage_not_reached() -> None:
    stages = tuple(
        replace(stage, reached=stage.name is StageName.KERNEL, seconds=None)
        for stage in GOOD.stages[2:]
    )
    verdict = verdict_on(replace(GOOD, sign=replace(SIGN, stage=None), stages=stages))
    assert verdict.failed_stage is StageName.INITRAMFS


@pytest.mark.parametrize(
    "reason", [EndReason.HOST_INTERNAL_ERROR, EndReason.QEMU_DIED, EndReason.STOPPED_BY_US]
)
def test_a_failure_of_the_host_is_never_a_verdict(reason: EndReason) -> None:
    record = replace(GOOD, ended=MachineEnded(3.0, reason, "KVM: entry failed"))
    assert "KVM: entry failed" in (host_failure(record) or "")
    with pytest.raises(HostError, match="not by the image"):
        verdict_on(record)


def test_an_end_of_the_guest_is_no_failure_of_the_host() -> None:
    assert host_failure(GOOD) is None
    record = replace(GOOD, ended=MachineEnded(3.0, EndReason.GUEST_RESET, "SHUTDOWN"))
    assert host_failure(record) is None


def test_verdict_json_has_the_fields_that_others_build_on(tmp_path: Path) -> None:
    path = write_verdict(tmp_path / "result", verdict_on(GOOD))
    text = path.read_text(encoding="utf-8")
    values = json.loads(text)
    assert text.endswith("}\n")
    assert values["schema"] == 1
    assert values["disk"] == {
        "sha256_before": "a" * 64,
        "sha256_after": "a" * 64,
        "layout": "hvm-mbr",
    }
    assert values["accelerator"] == {"kind": "tcg", "reason": "there is no /dev/kvm"}
    assert values["stages"][2] == {"name": "kernel", "seconds": 2.0, "reached": True}
    assert set(values["checks"][0]) == {"id", "passed", "evidence"}
    assert values["created"] == "2026-01-02T03:04:05Z"
    assert set(values) >= {
        *("accepted", "reason", "recipe_sha256", "lock_sha256", "qemu_version", "boot_method"),
        "failed_stage",
    }
    assert read_verdict(path) == verdict_on(GOOD)


def test_writing_a_verdict_again_replaces_it(tmp_path: Path) -> None:
    write_verdict(tmp_path, verdict_on(GOOD))
    path = write_verdict(tmp_path, verdict_on(replace(GOOD, sign=SIGN)))
    assert not read_verdict(path).accepted
    assert [entry.name for entry in tmp_path.iterdir()] == ["verdict.json"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}', "\x00\xff", "null", "{}" * 1000]
)
def test_what_is_no_verdict_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=r"verdict\.json: is no verdict"):
        read_verdict(path)


def test_a_verdict_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        read_verdict(tmp_path / "none.json")


def test_the_last_lines_name_the_stage_and_show_the_console_around_the_sign() -> None:
    lines = [
        *(f"before {n}" for n in range(30)),
        "Error 15: File not found",
        *(f"after {n}" for n in range(9)),
    ]
    text = explain(verdict_on(replace(GOOD, sign=SIGN)), lines)
    shown = [line for line in text.splitlines() if line.startswith("  | ")]
    assert shown[0] == "  | before 18"
    assert shown[-1] == "  | after 1"
    assert "  > Error 15: File not found" in text.splitlines()
    assert "\nRejected at stage bootloader" in text
    assert text.splitlines()[-1] == "Sign grub-error. Check the paths."


@pytest.mark.parametrize("width", [50, 80])
def test_the_last_ten_lines_of_a_terminal_tell_stage_sign_reason_and_what_to_do(
    width: int,
) -> None:
    sign = replace(SIGN, hint="Check the paths of `kernel` and `initrd` in menu.lst. " * 2)
    lines = [*(f"before {n}" for n in range(30)), sign.text, "Press any key to continue..."]
    text = explain(verdict_on(replace(GOOD, sign=sign)), lines, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    last = "\n".join(text.splitlines()[-10:])
    assert "  > Error 15: File not found\n  | Press any key" in last
    for told in ("Rejected at stage bootloader", "error 15", "Sign grub-error", "menu.lst"):
        assert told in " ".join(last.split())


def test_without_a_sign_the_checks_that_do_not_hold_are_told() -> None:
    text = explain(verdict_on(replace(GOOD, requests=())), GOOD.console_lines)
    assert "does not hold: key-fetched: 0 metadata requests" in text
    assert "  | three" in text
    assert "\nRejected at stage metadata" in text


def test_what_a_guest_wrote_cannot_steer_the_terminal() -> None:
    hostile = "\x1b[2J\x9b31m\u202eevil\r\n\x07" + "w" * 500
    sign = replace(SIGN, text=hostile, hint="")
    text = explain(verdict_on(replace(GOOD, sign=sign)), [hostile], width=80)
    assert not any(ord(character) < 32 and character != "\n" for character in text)
    assert "\x9b" not in text
    assert "\u202e" not in text
    assert all(len(line) <= 80 for line in text.splitlines()[:-1])


def test_a_silent_console_is_told_too() -> None:
    assert "showed nothing" in explain(verdict_on(replace(GOOD, sign=SIGN)), [])


def test_an_accepted_disk_is_told_in_one_line() -> None:
    assert explain(verdict_on(GOOD), GOOD.console_lines).count("\n") == 0
