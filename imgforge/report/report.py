"""What a report tells: tests, boots, and what was seen of each; frozen, and rendered elsewhere."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TestOutcome(StrEnum):
    """How a test ended.

    IMAGE is a broken assertion about the image, HARNESS a failure of the host or of what tests:
    it says nothing of the image. FLAKY failed first and passed when it was run again. QUARANTINED
    failed, and its failure is known and not counted, for a time.
    """

    __test__ = False  # pytest takes a class of such a name for tests

    PASSED = "passed"
    IMAGE = "failed: image"
    HARNESS = "failed: harness"
    FLAKY = "flaky"
    QUARANTINED = "quarantined"
    SKIPPED = "skipped"


class BootOutcome(StrEnum):
    """What was judged of a boot; UNJUDGED for a machine that a test drove itself."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    HOST_FAILED = "host failed"
    UNJUDGED = "not judged"


class Overall(StrEnum):
    """The report in a word. Silence is never acceptance: without a test or a boot it is EMPTY."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    HARNESS = "harness failed"
    EMPTY = "nothing was tested"


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A line of the console; `at_s` counts from power-on, None where the log does not say."""

    at_s: float | None
    text: str


@dataclass(frozen=True, slots=True)
class ConsoleExcerpt:
    """A console's beginning and end; `left_out_bytes` of its log stood between the two."""

    head: tuple[ConsoleLine, ...]
    tail: tuple[ConsoleLine, ...] = ()
    left_out_bytes: int = 0

    @property
    def lines(self) -> tuple[ConsoleLine, ...]:
        """The lines there are, beginning and end."""
        return self.head + self.tail


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage; `seconds` from power-on to its first sign, None where it showed none of its own."""

    name: str
    reached: bool
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class SignEntry:
    """The sign that a boot failed: where, what it means, the text it was known by, what to do."""

    id: str
    meaning: str
    text: str
    hint: str = ""
    stage: str = ""
    at_s: float | None = None


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """One thing looked at: whether it holds, and what was seen."""

    id: str
    passed: bool
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class RequestEntry:
    """One request to the metadata service; `token`: it carried a valid IMDSv2 token.

    `fault` is what was wrong with the answer, `cut` how its connection ended too early; "" where
    all was right.
    """

    at_s: float | None
    method: str
    path: str
    status: int
    token: bool = False
    user_agent: str = ""
    fault: str = ""
    cut: str = ""

    @property
    def wrong(self) -> tuple[str, ...]:
        """What was wrong with the answer, in words: nothing, the fault, the cut, or both."""
        fault = (f"fault: {self.fault}",) if self.fault else ()
        # A fault that cuts the connection has said so.
        cut = (f"cut off: {self.cut}",) if self.cut and self.cut not in self.fault else ()
        return (*fault, *cut)


@dataclass(frozen=True, slots=True)
class RequestLog:
    """The first requests to the metadata service; `left_out` more were made."""

    entries: tuple[RequestEntry, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command run in the machine; `status` is None where it did not end by itself."""

    command: str
    status: int | None
    output: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PastBoot:
    """One boot of a recipe, as its history keeps it.

    `login_s`: from power-on to the login, None where nobody was let in. `stages` has the seconds
    from power-on of those that showed themselves. `boot_method` is "" where it is not known.
    """

    created: datetime
    accepted: bool
    login_s: float | None
    stages: tuple[tuple[str, float], ...] = ()
    accelerator: str = ""
    layout: str = ""
    boot_method: str = ""
    instance_type: str = ""
    recipe_sha256: str = ""


@dataclass(frozen=True, slots=True)
class BootEntry:
    """One machine and what was seen of it. Only the name is sure to be there.

    `tests` names the tests that used it: none for the gate boot of `imgforge test`. `seconds` is
    how long it was watched; `facts` are what else is known of it, as pairs of a name and a value
    (QEMU's version, the instance type, how to replay it). `screenshot` has the bytes of a PNG.
    """

    name: str
    tests: tuple[str, ...] = ()
    outcome: BootOutcome = BootOutcome.UNJUDGED
    reason: str = ""
    failed_stage: str = ""
    sign: SignEntry | None = None
    stages: tuple[StageEntry, ...] = ()
    checks: tuple[CheckEntry, ...] = ()
    requests: RequestLog | None = None
    commands: tuple[CommandEntry, ...] = ()
    console: ConsoleExcerpt | None = None
    screenshot: bytes | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    created: datetime | None = None
    seconds: float | None = None
    login_s: float | None = None
    accelerator: str = ""
    layout: str = ""
    boot_method: str = ""
    instance_type: str = ""


@dataclass(frozen=True, slots=True)
class TestEntry:
    """One test and how it ended.

    `failure` is the text of its failure; for a FLAKY one, that of the run that failed; `why` is
    the same in a line, "" where its first line says it. `reason` is why it was skipped or
    quarantined, and until when. `replay` is the command line that starts its machine again.
    """

    __test__ = False

    name: str
    outcome: TestOutcome
    seconds: float | None = None
    failure: str = ""
    why: str = ""
    reason: str = ""
    replay: str = ""


@dataclass(frozen=True, slots=True)
class DiskEntry:
    """The disk that was tested."""

    path: str
    sha256: str = ""
    layout: str = ""
    recipe: str = ""
    recipe_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run tells.

    `history` are the earlier boots of the recipe, oldest first; `notes` are about the whole run.
    """

    title: str
    created: datetime
    disk: DiskEntry | None = None
    tests: tuple[TestEntry, ...] = ()
    boots: tuple[BootEntry, ...] = ()
    history: tuple[PastBoot, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def overall(self) -> Overall:
        """The whole in a word: any failure of the image, else any of the harness, is the whole's.

        Boots that a test drove count by their test.
        """
        ended = Counter(test.outcome for test in self.tests)
        judged = Counter(boot.outcome for boot in self.boots if not boot.tests)
        if ended[TestOutcome.IMAGE] or judged[BootOutcome.REJECTED]:
            return Overall.REJECTED
        if ended[TestOutcome.HARNESS] or judged[BootOutcome.HOST_FAILED]:
            return Overall.HARNESS
        good = ended[TestOutcome.PASSED] + ended[TestOutcome.FLAKY] + judged[BootOutcome.ACCEPTED]
        return Overall.ACCEPTED if good else Overall.EMPTY

    @property
    def boot_methods(self) -> tuple[str, ...]:
        """The ways in which the machines that were judged were started, each once."""
        return tuple(dict.fromkeys(boot.boot_method for boot in self.boots if boot.boot_method))

    @property
    def counts(self) -> Mapping[TestOutcome, int]:
        """How many tests ended in each way that any did, in TestOutcome's order."""
        ended = Counter(test.outcome for test in self.tests)
        return {outcome: ended[outcome] for outcome in TestOutcome if ended[outcome]}
