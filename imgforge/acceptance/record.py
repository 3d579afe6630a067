"""What one boot showed, as evidence: no judgement in it."""

from dataclasses import dataclass
from enum import StrEnum

from imgforge.machine import Accelerator, MachineEnded, WayChoice
from imgforge.metadata import MetadataRequest


class StageName(StrEnum):
    """How far a machine comes, in this order.

    CLOUD_INIT is only listed for a machine on which cloud-init said something: others have none.
    """

    FIRMWARE = "firmware"
    BOOTLOADER = "bootloader"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    INIT = "init"
    NETWORK = "network"
    METADATA = "metadata"
    CLOUD_INIT = "cloud-init"
    SSH = "ssh"


class BootMethod(StrEnum):
    """How the disk was started; a lesser way is never passed off as a better one."""

    BIOS = "bios"
    DIRECT = "direct"
    XEN_DIRECT = "xen-direct"
    XEN_GRUB = "xen-grub"

    @property
    def first_stage(self) -> StageName:
        """The first stage of a machine that is started so: what comes before it has none."""
        match self:
            case BootMethod.BIOS:
                return StageName.FIRMWARE
            case BootMethod.XEN_GRUB:
                return StageName.BOOTLOADER
            case _:
                return StageName.KERNEL


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and the seconds from power-on to its first sign.

    `seconds` is None where the stage was not reached, and where it was reached but showed nothing
    of its own: a quiet kernel is known only by what it started.
    """

    name: StageName
    reached: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SeenSign:
    """A fatal sign: its id in the table, what it means, the text it was known by, what to do.

    `stage` is the stage that failed, or None: then it is the first that was not reached.
    """

    id: str
    meaning: str
    text: str
    at_s: float
    hint: str
    stage: StageName | None


class LoginOutcome(StrEnum):
    """How an attempt to log in by SSH ended.

    After a WRONG_ANSWER the key was taken, but something else ran than what was asked for.
    """

    LET_IN = "let-in"
    WRONG_ANSWER = "wrong-answer"
    REFUSED = "refused"
    HOST_KEY_MISMATCH = "host-key-mismatch"
    NO_AGREEMENT = "no-agreement"
    UNREACHABLE = "unreachable"


class LoginId(StrEnum):
    """The ways in that are tried."""

    OWNER = "owner"
    OTHER_KEY = "other-key"
    OTHER_KEY_ROOT = "other-key-root"


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """A way in that was tried, how it ended, and what ssh said.

    `methods` are the authentications the server offered (RFC 4252), as far as ssh told them.
    """

    id: LoginId
    user: str
    outcome: LoginOutcome
    methods: tuple[str, ...]
    evidence: str
    at_s: float

    @property
    def let_in(self) -> bool:
        """Whether a command ran on the machine."""
        return self.outcome is LoginOutcome.LET_IN


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command run over SSH; `exit_code` is None where ssh or the time limit ended it."""

    command: str
    exit_code: int | None
    evidence: str


@dataclass(frozen=True, slots=True)
class PatternSeen:
    """A regular expression of the recipe, and the first console line it matched, if any."""

    pattern: str
    line: str | None


@dataclass(frozen=True, slots=True)
class BootRecord:
    """One boot, seen from outside.

    `sign` is the fatal sign that ended it, if any; `ended` is set where the machine stopped by
    itself. Stages that the way of booting does not have are not listed. `console_lines` is the
    end of the console, stripped of control characters; `host_keys` are the lines learned from it.
    `metadata_way` is how the guest came to its metadata service; None where nothing was started.
    `waited_s` is for how long it waited for one of the host's processors.
    `service_off` is why that service tells nothing; "" where it does.
    """

    stages: tuple[Stage, ...]
    sign: SeenSign | None
    ended: MachineEnded | None
    logins: tuple[LoginAttempt, ...]
    commands: tuple[CommandResult, ...]
    requests: tuple[MetadataRequest, ...]
    host_keys: tuple[str, ...]
    must_show: tuple[PatternSeen, ...]
    must_not_show: tuple[PatternSeen, ...]
    console_lines: tuple[str, ...]
    accelerator: Accelerator
    qemu_version: str
    boot_method: BootMethod
    seconds: float
    metadata_way: WayChoice | None = None
    service_off: str = ""
    waited_s: float = 0.0
