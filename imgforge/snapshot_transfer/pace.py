"""How many requests are under way at once: fewer where they are throttled, and more again after."""

import threading
import time

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0


class Pace:
    """A number of requests that grows by one after as many good ones, and halves with a bad one.

    Of those that were under way when one was throttled, only the first counts. May be used by
    several threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._allowed = float(most)
        self._running = 0
        self._pause_s = 0.0
        self._resting_until_s = 0.0
        self._slowed_at_s = 0.0
        self._turn = threading.Condition()
        self.throttled = 0
        """How many requests were throttled."""

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return max(1, int(self._allowed))

    def begin(self, stop: threading.Event) -> float:
        """Wait until one more may begin; return when it did. Ends early where `stop` is set."""
        with self._turn:
            while not stop.is_set():
                now_s = time.monotonic()
                rest_s = self._resting_until_s - now_s
                if self._running < self.allowed and rest_s <= 0:
                    break
                # A wait that is woken by whoever ends, or by the end of a rest.
                self._turn.wait(max(0.01, min(rest_s, 0.5)) if rest_s > 0 else 0.5)
            self._running += 1
            return time.monotonic()

    def end(self) -> None:
        """Let another begin, after a request that says nothing of the pace."""
        with self._turn:
            self._running -= 1
            self._turn.notify()

    def end_well(self) -> None:
        """Let another begin, after a good one."""
        with self._turn:
            self._running -= 1
            if self._allowed < self._most:
                self._allowed = min(self._most, self._allowed + 1 / self._allowed)
                self._pause_s = 0.0
                self._turn.notify()
            self._turn.notify()

    def end_throttled(self, began_s: float) -> None:
        """Slow down, after a request that began then and was throttled."""
        with self._turn:
            self._running -= 1
            self.throttled += 1
            if began_s >= self._slowed_at_s:
                self._slowed_at_s = time.monotonic()
                self._allowed = max(1.0, self._allowed / 2)
                longer_s = self._pause_s * 2 or _FIRST_PAUSE_S
                self._pause_s = min(_LONGEST_PAUSE_S, longer_s)
                self._resting_until_s = self._slowed_at_s + self._pause_s
            self._turn.notify()
