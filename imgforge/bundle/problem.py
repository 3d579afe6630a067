"""What is wrong with a bundle, by the check that found it."""

from imgforge.errors import BadInputError

_SHOWN_CHARACTERS = 60


class BundleError(BadInputError):
    """A bundle that is not what it has to be; `check` is the id of what it failed."""

    def __init__(self, check: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check


def shown(text: str) -> str:
    """Return text out of a bundle as a message may hold it: short, and in plain ASCII."""
    short = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return ascii(short).replace("\\u2026", "…")
