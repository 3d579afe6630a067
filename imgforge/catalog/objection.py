"""What speaks against a request, gathered from all its parts and told at once."""

from collections.abc import Iterable
from dataclasses import dataclass

from imgforge.catalog.rule_table import Finding, Severity
from imgforge.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Objection:
    """Why one thing cannot be done: `what`, such as "Image ami-1 cannot be copied into eu-west-1".

    `reasons` are clauses, and may be none where `what` says it all; `hint` is what to do.
    """

    what: str
    reasons: tuple[str, ...] = ()
    hint: str = ""

    @classmethod
    def of_error(cls, error: BadInputError) -> "Objection":
        """Return what an error says, to be told beside others."""
        return cls(str(error).removesuffix("."), hint=error.hint)

    @property
    def text(self) -> str:
        """The sentence, and a line for each reason."""
        if not self.reasons:
            return f"{self.what}."
        return "\n".join([f"{self.what}:", *(f"  {one}." for one in self.reasons)])


def objections_to(what: str, findings: Iterable[Finding], *, hint: str = "") -> list[Objection]:
    """Return the objection of those findings that EC2 refuses; none where there are none."""
    reasons = tuple(str(one) for one in findings if one.severity is Severity.REFUSED)
    return [Objection(what, tuple(dict.fromkeys(reasons)), hint)] if reasons else []


def refuse_together(objections: Iterable[Objection]) -> None:
    """Raise BadInputError with all objections, if there are any; each keeps its hint beside it."""
    told = list(dict.fromkeys(objections))
    if len(told) == 1:
        raise BadInputError(told[0].text, hint=told[0].hint)
    if told:
        lines = [line for one in told for line in (one.text, *([f"  {one.hint}"] * bool(one.hint)))]
        raise BadInputError("\n".join(lines))
