"""Lists that come in pages, some of them empty: how long the next one is asked for."""

from time import monotonic

from imgforge.ec2.problem import no_answer

MOST_EMPTY_PAGES = 1000
"""How many in a row may be empty: a filter is applied to a page when it is already full."""
_MOST_PAGES = 100_000
_LIMIT_S = 3600.0


class Patience:
    """What is left of it in one list; `what` is what is waited for."""

    def __init__(self, what: str, *, service: str) -> None:
        self._what = what
        self._service = service
        self._end_s = monotonic() + _LIMIT_S
        self._empty = self._pages = 0

    def spend(self, *, is_empty: bool) -> None:
        """Count a page. Raises CloudError where the list has no end, or brings nothing."""
        self._empty = self._empty + 1 if is_empty else 0
        if self._empty > MOST_EMPTY_PAGES:
            found = f"{self._empty} empty pages in a row"
            raise no_answer(self._what, found, service=self._service)
        self._pages += 1
        if self._pages > _MOST_PAGES or monotonic() > self._end_s:
            found = f"{self._pages} pages within {_LIMIT_S:g} s, and no last one"
            raise no_answer(self._what, found, service=self._service)
