"""How far a machine has come, read off its console, its requests and its logins."""

import re
from dataclasses import dataclass
from re import Pattern

from imgforge.acceptance.record import BootMethod, Stage, StageName

ORDER: tuple[StageName, ...] = tuple(StageName)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A text that shows a stage; `needle` is plain text that each match contains."""

    stage: StageName
    needle: str
    pattern: Pattern[str]

    def shows_in(self, text: str) -> bool:
        return self.needle in text and self.pattern.search(text) is not None


def _mark(stage: StageName, needle: str, pattern: str) -> _Mark:
    return _Mark(stage, needle, re.compile(pattern))


_MARKS = (
    _mark(StageName.FIRMWARE, "SeaBIOS", r"SeaBIOS \(version "),
    _mark(StageName.FIRMWARE, "Booting from ", r"^Booting from (?:Hard Disk|DVD|ROM)"),
    _mark(StageName.BOOTLOADER, "GRUB", r"\bGRUB ?(?:[Ll]oading|version|Geom|Read|Hard)|^GRUB\b"),
    _mark(StageName.BOOTLOADER, "Booting '", r"^\s*Booting '"),
    _mark(StageName.BOOTLOADER, "Booting `", r"^\s*Booting `"),
    _mark(StageName.BOOTLOADER, "imgforge-pvgrub: ", r"^imgforge-pvgrub: "),
    _mark(StageName.KERNEL, "Linux version ", r"(?:^|\] )Linux version \d"),
    _mark(StageName.KERNEL, "ooting the kernel", r"^\s*[Bb]ooting the kernel"),
    _mark(StageName.KERNEL, "[ ", r"^\[ +\d+\.\d{6}\]"),
    _mark(StageName.INITRAMFS, "Loading, please wait", r"^Loading, please wait"),
    _mark(StageName.INITRAMFS, "imgforge-initramfs:", r"imgforge-initramfs:"),
    _mark(StageName.INITRAMFS, "Begin: ", r"(?:^|\] )Begin: "),
    _mark(StageName.INITRAMFS, "dracut", r"(?:^|\] )dracut[:-]"),
    _mark(StageName.INIT, "systemd[1]:", r"(?:^|\] )systemd\[1\]:(?! Running in initrd)"),
    _mark(StageName.INIT, "Welcome to ", r"^\s*Welcome to (?!GRUB|emergency|rescue)"),
    _mark(StageName.INIT, "imgforge-init:", r"imgforge-init:"),
    _mark(StageName.INIT, "INIT: version", r"^\s*INIT: version"),
    _mark(StageName.NETWORK, "lease", r"udhcpc: lease of |[Ll]ease of \d+\.\d+|leased \d+\.\d+"),
    _mark(StageName.NETWORK, "DHCP", r"\bDHCPACK (?:of|from)\b|DHCPv4 address \d"),
    _mark(StageName.NETWORK, "imgforge-init: network ", r"imgforge-init: network \d+\.\d+"),
    _mark(StageName.NETWORK, "bound to ", r"\bbound to \d+\.\d+\.\d+\.\d+"),
    _mark(StageName.NETWORK, "ci-info: |", r"ci-info: \| +(?!lo )\S+ +\| +True +\| +\d+\.\d+"),
    # cloud-init speaks before there is a network; its modules come once it has its data.
    _mark(StageName.CLOUD_INIT, "running 'modules:", r"Cloud-init v\. \S+ running 'modules:"),
    _mark(StageName.CLOUD_INIT, " finished at ", r"Cloud-init v\. \S+ finished at "),
)
_KERNEL_MARKS = tuple(mark for mark in _MARKS if mark.stage is StageName.KERNEL)
_LOADED = "[Linux-bzImage"
_CLOUD_INIT = _mark(StageName.CLOUD_INIT, "loud-init", r"Cloud-init v\. \S+ (?:running|finished) ")


class StageClock:
    """Recognises stages as they come; each keeps the time of its first sign.

    A later stage implies those before it: they are then reached, and where they showed nothing
    themselves (a quiet kernel) their seconds are None. A machine started without its BIOS has no
    firmware, and mostly no bootloader: those are not counted and not listed; nor is the metadata
    of one that has none to ask for. Nor is cloud-init before it said a word: most machines without
    it never had it. Since it also runs where there is no network or no metadata, it implies neither
    of them.
    """

    def __init__(self, *, boot_method: BootMethod, has_metadata: bool = True) -> None:
        first = boot_method.first_stage
        self._expected = tuple(
            name
            for name in ORDER[ORDER.index(first) :]
            if has_metadata or name is not StageName.METADATA
        )
        self._marks = tuple(mark for mark in _MARKS if mark.stage in self._expected)
        self._seen: dict[StageName, float] = {}
        self._furthest = -1
        self._has_cloud_init = False
        self._is_kernel_loaded = first is StageName.KERNEL
        self._is_kernel_unheard = False

    def read(self, text: str, at_s: float) -> None:
        """Look at a console text, a whole line or one without its end."""
        self.reach(StageName.FIRMWARE, at_s)  # whatever the text: something runs
        self._is_kernel_loaded = self._is_kernel_loaded or _LOADED in text
        self._has_cloud_init = self._has_cloud_init or _CLOUD_INIT.shows_in(text)
        if self._is_kernel_unheard:
            self._is_kernel_unheard = not any(mark.shows_in(text) for mark in _KERNEL_MARKS)
        for mark in self._marks:
            if mark.shows_in(text):
                self.reach(mark.stage, at_s)

    def hand_over(self, at_s: float) -> None:
        """Note that a boot loader let the kernel run, which has said nothing yet."""
        if StageName.KERNEL in self._expected and not self.has_reached(StageName.KERNEL):
            self.reach(StageName.KERNEL, at_s)
            self._is_kernel_unheard = True

    def reach(self, stage: StageName, at_s: float) -> None:
        """Note that `stage` showed itself; later signs of it change nothing."""
        if stage not in self._expected or stage in self._seen:
            return
        self._seen[stage] = at_s
        if stage is not StageName.CLOUD_INIT:
            self._furthest = max(self._furthest, ORDER.index(stage))
        self._marks = tuple(mark for mark in self._marks if mark.stage not in self._seen)

    @property
    def furthest(self) -> StageName | None:
        """The last stage that showed itself, in their order; cloud-init runs beside them."""
        return None if self._furthest < 0 else ORDER[self._furthest]

    @property
    def waits_for_kernel(self) -> bool:
        """Whether a kernel was loaded, and nothing of it or after it was seen."""
        if self._is_kernel_unheard:
            return self.furthest is StageName.KERNEL
        return self._is_kernel_loaded and not self.has_reached(StageName.KERNEL)

    def has_reached(self, stage: StageName) -> bool:
        """Tell whether `stage` or a later one showed itself."""
        return stage in self._seen or ORDER.index(stage) <= self._furthest

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages this way of booting has, in order."""
        return tuple(
            Stage(name=name, reached=self.has_reached(name), seconds=self._seen.get(name))
            for name in self._expected
            if name is not StageName.CLOUD_INIT or self._has_cloud_init
        )
