"""How far something is, told now and then."""

import time

from imgforge.progress import report

_PAUSE_S = 1.0


class Passing:
    """Bytes that pass; told once a second at most, so that what is short stays silent."""

    def __init__(self, what: str, total_bytes: int) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._told_s = time.monotonic()

    def add(self, size_bytes: int) -> None:
        """Count bytes that have passed."""
        self._done_bytes += size_bytes
        now_s = time.monotonic()
        if now_s - self._told_s >= _PAUSE_S:
            self._told_s = now_s
            percent = 100 * self._done_bytes // max(self._total_bytes, 1)
            done, total = self._done_bytes, self._total_bytes
            report(f"{self._what}: {percent} %", done=done, total=total)
