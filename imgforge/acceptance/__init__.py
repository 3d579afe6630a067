"""What was seen becomes a verdict: stages, signs, checks."""

from imgforge.acceptance.record import BootRecord, LoginAttempt, SeenSign, Stage, StageName
from imgforge.acceptance.verdict import Check, Verdict

__all__ = ["BootRecord", "Check", "LoginAttempt", "SeenSign", "Stage", "StageName", "Verdict"]
