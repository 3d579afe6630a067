"""What the metadata service may be told to get wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Fault:
    """Requests whose path starts with `path` are answered wrongly.

    Without its version, as in "/meta-data/public-keys", a path is meant under every version; "/"
    is everything. The answer is `status`, or the right one where that is None, after `delay_s`
    seconds; `times` bounds how often, None is always. Raises ValueError for what is no status.
    """

    path: str
    status: int | None = None
    delay_s: float = 0.0
    times: int | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError(f'a path starts with "/", found {self.path!r}')
        if self.status is not None:
            HTTPStatus(self.status)
        if not 0 <= self.delay_s <= 3600:
            raise ValueError(f"delay_s is 0 to 3600 seconds, found {self.delay_s}")
        if self.status is None and not self.delay_s:
            raise ValueError("a fault has a status, a delay_s, or both")

    def concerns(self, path: str) -> bool:
        """Tell whether a request for `path` meets this fault."""
        below_version = "/" + path.removeprefix("/").partition("/")[2]
        return path.startswith(self.path) or below_version.startswith(self.path)


class Faults:
    """The faults of one service, changeable while it runs."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._left = [(fault, fault.times) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Let the service make one more; the first that concerns a request is made."""
        self._left.append((fault, fault.times))

    def clear(self) -> None:
        """Let the service be right again."""
        self._left.clear()

    def meet(self, path: str) -> Fault | None:
        """Return the fault that a request meets, and count it."""
        for number, (fault, left) in enumerate(self._left):
            if fault.concerns(path) and left != 0:
                self._left[number] = (fault, None if left is None else left - 1)
                return fault
        return None
