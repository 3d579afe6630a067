"""The space of what was deleted is given back, a moment later and in one go."""

import threading

from imgforge.catalog import Account
from imgforge.errors import ImgforgeError
from imgforge.progress import warn

FREEING = frozenset({"DeleteSnapshot", "DeleteVolume", "DeregisterImage", "DeleteRule"})
"""Actions after which something may be left that nothing refers to."""
_QUIET_S = 1.0
_LIMIT_S = 10.0
_END_LIMIT_S = 1.0


class Sweeper:
    """Sweeps an account's catalog some time after it was woken; the last time at the end."""

    def __init__(self, account: Account, is_ending: threading.Event) -> None:
        self._account = account
        self._is_ending = is_ending
        self._is_woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._turn = threading.Lock()

    def wake(self) -> None:
        """Something was deleted."""
        self._is_woken.set()
        with self._turn:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sweeper", daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Sweep what is left; `is_ending` is set."""
        if self._thread is None:
            return
        self._is_woken.set()
        self._thread.join(_LIMIT_S)

    def _work(self) -> None:
        while True:
            self._is_woken.wait()
            ending = self._is_ending.wait(_QUIET_S)  # more is deleted at once, mostly
            self._is_woken.clear()
            try:
                swept = self._account.sweep(limit_s=_END_LIMIT_S if ending else _LIMIT_S)
            except (ImgforgeError, OSError) as error:
                warn(f"space of what was deleted is not given back: {error}")
            else:
                if swept is None and not ending:
                    self._is_woken.set()  # somebody uploads: again after it
            if ending:
                return
