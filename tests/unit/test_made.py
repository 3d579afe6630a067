"""What a command made is taken back where it fails, and the first error stays."""

import logging
from collections.abc import Callable

import pytest

from imgforge.errors import CloudError, HostError
from imgforge.made import Made


def fail(error: BaseException, *things: tuple[str, Callable[[], None]]) -> None:
    with Made(left="gc finds it.") as made:
        for what, take_back in things:
            made.add(what, take_back)
        raise error


def test_a_block_that_ends_well_keeps_everything() -> None:
    taken: list[str] = []
    with Made(left="") as made:
        made.add("a", lambda: taken.append("a"))
    assert taken == []


@pytest.mark.parametrize("error", [CloudError("x"), KeyboardInterrupt(), ValueError("x")])
def test_an_error_takes_all_back_the_newest_first(error: BaseException) -> None:
    taken: list[str] = []
    things = [(name, lambda name=name: taken.append(name)) for name in "abc"]
    with pytest.raises(type(error)):
        fail(error, *things)
    assert taken == ["c", "b", "a"]


def test_what_is_kept_stays() -> None:
    taken: list[str] = []

    def keep_and_fail() -> None:
        with Made(left="") as made:
            made.add("a", lambda: taken.append("a"))
            made.keep()
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        keep_and_fail()
    assert taken == []


def test_what_is_refused_was_not_made_and_what_is_interrupted_may_be() -> None:
    taken: list[str] = []

    def make(error: BaseException) -> None:
        with Made(left="") as made, made.making("a", lambda: taken.append("a")):
            raise error

    with pytest.raises(CloudError):
        make(CloudError("no"))
    assert taken == []
    for error in (KeyboardInterrupt(), HostError("gone")):
        with pytest.raises(type(error)):
            make(error)
    assert taken == ["a", "a"]


def test_a_failure_to_take_back_is_told_and_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def refuse() -> None:
        asked.append("refused")
        raise CloudError("no")

    def silent() -> None:
        asked.append("silent")
        raise HostError("gone")

    things = [("Image a", lambda: asked.append("a")), ("Image b", silent), ("Image c", refuse)]
    with caplog.at_level(logging.INFO), pytest.raises(ValueError, match="first"):
        fail(ValueError("first"), *things)
    # Where nobody answers, nobody is asked again.
    assert asked == ["refused", "silent"]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "Image c: could not be taken back: no",
        "Image b: stays, since the endpoint does not answer. gc finds it.",
        "Image a: stays, since the endpoint does not answer. gc finds it.",
    ]
