"""What was seen becomes a verdict: stages, signs, checks."""

from imgforge.acceptance.judge import host_failure, judge, judge_tests
from imgforge.acceptance.login import (
    Login,
    Visitor,
    discard_login,
    new_login,
    ssh_arguments,
    ssh_line,
    trust_host,
)
from imgforge.acceptance.observe import ObservedMachine, observe
from imgforge.acceptance.record import (
    BootMethod,
    BootRecord,
    LoginAttempt,
    SeenSign,
    Stage,
    StageName,
)
from imgforge.acceptance.report import explain, explain_end
from imgforge.acceptance.starvation import never_ticked, starvation, was_kept_waiting
from imgforge.acceptance.unbootable import record_unbootable
from imgforge.acceptance.verdict import (
    VERDICT_FILE,
    Check,
    DiskReport,
    SkippedCheck,
    Verdict,
    read_verdict,
    write_verdict,
)
from imgforge.acceptance.watch import find_sign

__all__ = [
    "VERDICT_FILE",
    "BootMethod",
    "BootRecord",
    "Check",
    "DiskReport",
    "Login",
    "LoginAttempt",
    "ObservedMachine",
    "SeenSign",
    "SkippedCheck",
    "Stage",
    "StageName",
    "Verdict",
    "Visitor",
    "discard_login",
    "explain",
    "explain_end",
    "find_sign",
    "host_failure",
    "judge",
    "judge_tests",
    "never_ticked",
    "new_login",
    "observe",
    "read_verdict",
    "record_unbootable",
    "ssh_arguments",
    "ssh_line",
    "starvation",
    "trust_host",
    "was_kept_waiting",
    "write_verdict",
]
