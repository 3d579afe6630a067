"""What has been seen of a boot so far: console, requests, stages, fatal signs. No clock, no I/O."""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from imgforge.acceptance.grub_errors import explain_grub_error
from imgforge.acceptance.host_keys import HostKeyReader
from imgforge.acceptance.outside_signs import sign_of_empty_host_keys
from imgforge.acceptance.record import BootMethod, PatternSeen, SeenSign, StageName
from imgforge.acceptance.sign import Effect, Sign, Where
from imgforge.acceptance.signs import SIGNS
from imgforge.acceptance.stages import ORDER, StageClock
from imgforge.machine import (
    ConsoleBytes,
    ConsoleLine,
    KernelStarted,
    MachineEnded,
    MachineEvent,
    MetadataAsked,
)
from imgforge.metadata import MetadataRequest

KEPT_LINES = 400
KEPT_REQUESTS = 10_000
_READ_CHARACTERS = 4096  # of a line: no line can hold up the watch
_SHOWN_CHARACTERS = 1000
_HOST_KEY_CHARACTERS = 16_384
TENTATIVE_S = 1.5
# GRUB 2 waits ten seconds for a key before it goes on to the fallback entry, and then unpacks that
# kernel without a word: 15 s on TCG, many times that on a busy host. Where no entry is left it says
# so, and is not waited for.
GRUB_2_TENTATIVE_S = 240.0
SETTLE_S = 0.3

_PENDING_SIGNS = tuple(sign for sign in SIGNS if sign.where is Where.EITHER)
_BOOTS_ON = re.compile(r"Booting [`']|\[Linux-bzImage")
_KEY_PATH = re.compile(r"/public-keys/+0/+openssh-key/*(?:\?.*)?$")


@dataclass(slots=True)
class _Expected:
    pattern: re.Pattern[str]
    line: str | None = None

    def read(self, text: str) -> None:
        if self.line is None and self.pattern.search(text):
            self.line = text[:_SHOWN_CHARACTERS]

    def seen(self) -> PatternSeen:
        return PatternSeen(self.pattern.pattern, self.line)


@dataclass(slots=True)
class _Cause:
    """A cause, its first line, and how many followed."""

    sign: Sign
    seen: SeenSign
    count: int = 1


class Watch:
    """Takes a machine's events in their order and keeps what matters, in bounded memory."""

    def __init__(
        self,
        *,
        boot_method: BootMethod,
        has_metadata: bool = True,
        must_show: Sequence[str] = (),
        must_not_show: Sequence[str] = (),
    ) -> None:
        self.stages = StageClock(boot_method=boot_method, has_metadata=has_metadata)
        self._is_grub_2 = boot_method is BootMethod.XEN_GRUB
        self._tentative_s = GRUB_2_TENTATIVE_S if self._is_grub_2 else TENTATIVE_S
        self.sign: SeenSign | None = None
        self.ended: MachineEnded | None = None
        self.key_fetched_at_s: float | None = None
        self.requests: list[MetadataRequest] = []
        self.last_at_s = 0.0
        self._tentative: SeenSign | None = None
        self._causes: dict[str, _Cause] = {}
        self._symptom: SeenSign | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending = ""
        self._host_keys = HostKeyReader()
        self._must_show = [_Expected(re.compile(pattern)) for pattern in must_show]
        self._must_not_show = [_Expected(re.compile(pattern)) for pattern in must_not_show]

    @property
    def is_loading(self) -> bool:
        """Whether PV-GRUB's stand-in may be at loading a kernel, of which it says nothing."""
        return self._is_grub_2 and self.stages.furthest is StageName.BOOTLOADER

    @property
    def host_keys(self) -> tuple[str, ...]:
        """The SSH host keys the console has shown whole."""
        return self._host_keys.keys

    @property
    def console_lines(self) -> tuple[str, ...]:
        """The end of the console, the line without its end included."""
        return (*self._lines, *([self._pending] if self._pending.strip() else []))

    @property
    def last_said(self) -> str:
        """The last console line with something in it, or words to say that there is none."""
        lines = (line for line in reversed(self.console_lines) if line.strip())
        return next(lines, "nothing at all on the console")

    @property
    def must_show(self) -> tuple[PatternSeen, ...]:
        """What the console must show, and has so far."""
        return tuple(expected.seen() for expected in self._must_show)

    @property
    def must_not_show(self) -> tuple[PatternSeen, ...]:
        """What the console must not show, and has so far."""
        return tuple(expected.seen() for expected in self._must_not_show)

    @property
    def shows_all(self) -> bool:
        """Whether everything that the console must show was there."""
        return all(expected.line is not None for expected in self._must_show)

    @property
    def settles_at_s(self) -> float | None:
        """When the observation ends for the sign seen so far: a little later, for what follows."""
        if self.sign is not None:
            return self.sign.at_s + SETTLE_S
        return None if self._tentative is None else self._tentative.at_s + self._tentative_s

    def settle(self) -> SeenSign | None:
        """Return the sign seen; one that nothing cleared in its time is no longer tentative."""
        if self.stages.has_reached(StageName.KERNEL):
            self._tentative = None
        self.sign = self.sign or self._tentative
        return self.sign

    def explain(self, symptom: SeenSign) -> SeenSign:
        """Return `symptom` named by a cause that was seen before it, or as it is without one.

        A cause of a stage explains what fails at that stage, or later until a later stage shows
        itself: units start side by side, so one may ask for metadata while another fails at init.
        Of several causes the one that stands first in the table names the symptom.
        """
        found = [cause for cause in self._causes.values() if self._is_cause_of(cause, symptom)]
        if not found:
            return symptom
        cause = min(found, key=lambda cause: SIGNS.index(cause.sign)).seen
        return replace(
            symptom,
            id=cause.id,
            meaning=f"{cause.meaning}, then {symptom.meaning}",
            text=cause.text,
            hint=cause.hint,
            stage=cause.stage or symptom.stage,
        )

    def _is_cause_of(self, cause: _Cause, symptom: SeenSign) -> bool:
        sign = cause.sign
        if symptom.id == sign.id or (sign.until and self.stages.has_reached(sign.until)):
            return False
        if sign.effect is Effect.WEAK_CAUSE:
            return symptom.stage is None
        if sign.stage is None or sign.stage is symptom.stage:
            return True
        furthest = self.stages.furthest
        place = ORDER.index(sign.stage)
        is_passed = furthest is not None and ORDER.index(furthest) > place
        return not is_passed and (symptom.stage is None or place <= ORDER.index(symptom.stage))

    def take(self, event: MachineEvent) -> None:
        """Take the next event."""
        self.last_at_s = max(self.last_at_s, event.at_s)
        match event:
            case ConsoleLine(at_s=at_s, text=text):
                self._take_line(text, at_s)
            case ConsoleBytes(at_s=at_s, pending=pending):
                self._take_pending(pending, at_s)
            case KernelStarted(at_s=at_s):
                self.stages.hand_over(at_s)
            case MetadataAsked(at_s=at_s, request=request):
                self._take_request(request, at_s)
            case MachineEnded():
                self.ended = event

    def look_at_pending(self) -> None:
        """Take the line without its end for one that must show, too: a login prompt has none."""
        for expected in self._must_show:
            expected.read(self._pending)

    def _take_line(self, whole: str, at_s: float) -> None:
        text = whole[:_READ_CHARACTERS]
        self._pending = ""
        self._lines.append(text[:_SHOWN_CHARACTERS])
        self._host_keys.read(whole[:_HOST_KEY_CHARACTERS])
        if self._host_keys.shows_none and self.sign is None:
            self.sign = self.explain(sign_of_empty_host_keys(at_s=at_s, last=text))
        for expected in (*self._must_show, *self._must_not_show):
            expected.read(text)
        self._look(text, at_s, SIGNS)

    def _take_pending(self, pending: str, at_s: float) -> None:
        text = pending[-_READ_CHARACTERS:]
        self._pending = text[-_SHOWN_CHARACTERS:]
        self._look(text, at_s, _PENDING_SIGNS)

    def _take_request(self, request: MetadataRequest, at_s: float) -> None:
        if len(self.requests) < KEPT_REQUESTS:
            self.requests.append(request)
        self.stages.reach(StageName.NETWORK, at_s)
        self.stages.reach(StageName.METADATA, at_s)
        if self.key_fetched_at_s is None and is_key_answer(request):
            self.key_fetched_at_s = at_s

    def _look(self, text: str, at_s: float, signs: tuple[Sign, ...]) -> None:
        self.stages.read(text, at_s)
        if self._tentative and (
            self.stages.has_reached(StageName.KERNEL) or _BOOTS_ON.search(text)
        ):
            self._tentative = None
        # What explains a symptom may follow it: the kernel's panic overtakes init's last words.
        if self.sign is None or self._symptom is not None:
            self._look_for_sign(text, at_s, signs)

    def _look_for_sign(self, text: str, at_s: float, signs: tuple[Sign, ...]) -> None:
        for sign in signs:
            if sign.needle not in text or (sign.until and self.stages.has_reached(sign.until)):
                continue
            if match := sign.pattern.search(text):
                self._note(sign, match, at_s)
                return

    def _note(self, sign: Sign, match: re.Match[str], at_s: float) -> None:
        seen = _describe(sign, match, at_s)
        if self._symptom is not None:
            is_fatal = sign.effect is Effect.FATAL and sign.stage is self._symptom.stage
            if is_fatal or not sign.effect.ends_boot:
                self._note_cause(sign, seen)
                self.sign = self.explain(self._symptom)
            return
        match sign.effect:
            case Effect.FATAL if sign.id == "grub-waits-for-a-key":
                # It follows the error that explains it; GRUB 2 does not wait for ever.
                self.sign = None if self._is_grub_2 else self._tentative or seen
            case Effect.FATAL if sign.id == "grub-no-entry-boots" and self._tentative:
                self.sign = replace(seen, text=self._tentative.text)
            case Effect.FATAL:
                self.sign = seen
            case Effect.SYMPTOM:
                self._symptom = seen
                self.sign = self.explain(seen)
            case Effect.TENTATIVE:
                # A line may go on: "Error 1" becomes "Error 15: File not found".
                since_s = seen.at_s if self._tentative is None else self._tentative.at_s
                self._tentative = replace(seen, at_s=since_s)
            case Effect.CAUSE | Effect.WEAK_CAUSE:
                self._note_cause(sign, seen)

    def _note_cause(self, sign: Sign, seen: SeenSign) -> None:
        known = self._causes.get(sign.id)
        if known is None:
            known = self._causes[sign.id] = _Cause(sign, seen)
        else:
            known.count += 1
        if self.sign is None and sign.fatal_after and known.count >= sign.fatal_after:
            self.sign = self.explain(seen)


def find_sign(lines: Iterable[tuple[float, str]]) -> SeenSign | None:
    """Return the fatal sign on a console, given as lines and their seconds from power-on."""
    watch = Watch(boot_method=BootMethod.BIOS)
    for at_s, text in lines:
        watch.take(ConsoleLine(at_s, text))
    return watch.settle()


def is_key_answer(request: MetadataRequest) -> bool:
    """Tell whether a request was for the served public key and was answered with it."""
    whole = request.status == 200 and not request.cut
    return whole and _KEY_PATH.search(request.path) is not None


def _describe(sign: Sign, match: re.Match[str], at_s: float) -> SeenSign:
    meaning, hint = sign.meaning, sign.hint
    if sign.id == "grub-error":
        number = int(match["number"])
        explained, hint = explain_grub_error(number, is_bare=":" not in match[0])
        meaning = f"{meaning} with error {number} ({explained})"
    text = match.string.strip()[:_SHOWN_CHARACTERS]
    return SeenSign(sign.id, meaning, text, at_s, hint, sign.stage)
