"""What the metadata service may be told to get wrong."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from imgforge.metadata.tokens import MAX_TTL_S, MIN_TTL_S

MAX_DELAY_S = 3600
_STATUSES = range(400, 600)


class Cut(StrEnum):
    """How a connection ends before its answer is out.

    `refused` closes it before the first byte; `closed` and `reset` after half the body, by an end
    (FIN) or a reset (RST); `silent` says nothing until the client goes. What comes through QEMU's
    user network is closed where it would be reset.
    """

    REFUSED = "refused"
    CLOSED = "closed"
    RESET = "reset"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Fault:
    """Requests whose path starts with `path` are answered wrongly.

    Without its version, as in "/meta-data/public-keys", a path is meant under every version; "/"
    is everything. `method` such as "PUT" bounds it to one, "" is every method.

    The answer is `status`, or the right one where that is None, after `delay_s` seconds. `cut`
    ends the connection before the answer is out, `bytes_per_s` is how slowly its body comes, and
    tokens given under this fault live for `token_ttl_s` at most, though the answer tells what was
    asked for.

    `times` bounds how often, None is always; the fault is made from `after_s` to `until_s` of the
    service's clock: seconds since power-on, and for a fault added later since then. Raises
    ValueError for what is no fault.
    """

    path: str
    status: int | None = None
    delay_s: float = 0.0
    times: int | None = None
    method: str = ""
    after_s: float = 0.0
    until_s: float | None = None
    cut: Cut | None = None
    bytes_per_s: float | None = None
    token_ttl_s: int | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f'a path starts with "/", found {self.path!r}')
        for name in ("delay_s", "after_s", "until_s", "bytes_per_s"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} is a finite number, found {value}")
        self._check_answer()
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is 1 or more, found {self.times}")
        if self.method != self.method.upper():
            raise ValueError(f'a method is in capitals, as in "PUT", found {self.method!r}')
        if self.after_s < 0 or (self.until_s is not None and self.until_s <= self.after_s):
            raise ValueError(
                f"a fault lasts from after_s, 0 or more, to a later until_s; "
                f"found {self.after_s} to {self.until_s}"
            )
        if not self.words:
            raise ValueError("a fault has a status, a delay_s, a cut, bytes_per_s or token_ttl_s")

    def _check_answer(self) -> None:
        if self.status is not None and self.status not in _STATUSES:
            raise ValueError(f"the status of a fault is 400 to 599, found {self.status}")
        if not 0 <= self.delay_s <= MAX_DELAY_S:
            raise ValueError(f"delay_s is 0 to {MAX_DELAY_S} seconds, found {self.delay_s}")
        if self.cut is not None:
            Cut(self.cut)
        if self.bytes_per_s is not None and not self.bytes_per_s > 0:
            raise ValueError(f"bytes_per_s is above 0, found {self.bytes_per_s}")
        if self.token_ttl_s is not None and not MIN_TTL_S <= self.token_ttl_s <= MAX_TTL_S:
            raise ValueError(
                f"token_ttl_s is {MIN_TTL_S} to {MAX_TTL_S} seconds, found {self.token_ttl_s}"
            )

    @property
    def words(self) -> str:
        """What it does, as in "delay 2 s, status 503"."""
        parts = [
            f"delay {self.delay_s:g} s" if self.delay_s else "",
            f"status {self.status}" if self.status is not None else "",
            str(Cut(self.cut).value) if self.cut is not None else "",
            f"{self.bytes_per_s:g} bytes/s" if self.bytes_per_s is not None else "",
            f"token for {self.token_ttl_s} s" if self.token_ttl_s is not None else "",
        ]
        return ", ".join(part for part in parts if part)

    def concerns(self, path: str, *, method: str = "GET") -> bool:
        """Tell whether a request for `path` meets this fault."""
        if self.method and method != self.method:
            return False
        below_version = "/" + path.removeprefix("/").partition("/")[2]
        return path.startswith(self.path) or below_version.startswith(self.path)

    def lasts(self, at_s: float) -> bool:
        """Tell whether it is made `at_s` seconds after it was added."""
        return self.after_s <= at_s and (self.until_s is None or at_s < self.until_s)


@dataclass(slots=True)
class _Planned:
    fault: Fault
    since_s: float
    left: int | None


class Faults:
    """The faults of one service, changeable while it runs."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._planned = [_Planned(fault, 0.0, fault.times) for fault in faults]

    def add(self, fault: Fault, *, now_s: float = 0.0) -> None:
        """Let the service make one more; the first that concerns a request is made.

        Its window counts from `now_s` of the service's clock.
        """
        self._planned.append(_Planned(fault, now_s, fault.times))

    def clear(self) -> None:
        """Let the service be right again."""
        self._planned.clear()

    def meet(self, path: str, *, method: str = "GET", at_s: float = 0.0) -> Fault | None:
        """Return the fault that a request meets, and count it."""
        for planned in tuple(self._planned):
            fault = planned.fault
            concerned = fault.concerns(path, method=method) and fault.lasts(at_s - planned.since_s)
            if concerned and planned.left != 0:
                if planned.left is not None:
                    planned.left -= 1
                return fault
        return None
