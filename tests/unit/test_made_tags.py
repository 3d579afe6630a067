"""Tags: what a person gives, and what imgforge knows its own by."""

import pytest

from imgforge.errors import BadInputError
from imgforge.made_tags import (
    MADE,
    UNFINISHED,
    WORK,
    is_made,
    own_tags,
    parse_tags,
    work_digest,
)


def test_a_tag_is_split_at_its_first_equals_sign() -> None:
    assert parse_tags(["a=b=c", "empty=", "k k= v ", "a=b=c"]) == {
        "a": "b=c",
        "empty": "",
        "k k": " v ",
    }


@pytest.mark.parametrize("word", ["ümläut", "名前", "имя", "اسم", "नाम", "👩‍💻", "á́", "a" * 128])
def test_names_of_every_script_are_tags(word: str) -> None:
    assert parse_tags([f"{word}={word}"]) == {word: word}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["Name"], "KEY=VALUE"),
        (["=v"], "0 characters"),
        ([f"{'k' * 129}=v"], "129 characters"),
        ([f"{'名' * 129}=v"], "129 characters"),
        ([f"k={'v' * 257}"], "257 characters"),
        (["aws:x=1"], "AWS's own"),
        (["AWS:x=1"], "AWS's own"),
        (["imgforge:verdict=accepted"], "imgforge's own"),
        (["ImgForge:x=1"], "imgforge's own"),
        (["k=1", "k=2"], "two values"),
        (["k\udcff=1"], "no request can carry"),
        (["k=\x00"], "no request can carry"),
        (["k=a\nb"], "no request can carry"),
        ([f"k{n}=1" for n in range(51)], "at most 50"),
    ],
)
def test_what_ec2_would_refuse_is_refused_before(texts: list[str], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        parse_tags(texts)


def test_the_longest_tags_are_taken() -> None:
    assert parse_tags([f"{'k' * 128}={'v' * 256}"])
    assert len(parse_tags([f"k{n}=1" for n in range(50)])) == 50


def test_equal_works_have_one_digest_and_others_another() -> None:
    assert work_digest("copy", "ami-1", None) == work_digest("copy", "ami-1", None)
    works = {
        work_digest("copy", "ami-1", None),
        work_digest("copy", "ami-1", ""),
        work_digest("copy", "ami-1"),
        work_digest("copy", "ami-1", 1),
        work_digest("copy", "ami-1", "1"),
        work_digest("copyami-1"),
    }
    assert len(works) == 6
    assert all(len(work) == 32 and work.isascii() for work in works)


def test_what_the_tool_made_is_known_by_its_tag_alone() -> None:
    made = {MADE: "copy", WORK: "w", UNFINISHED: "w"}
    assert is_made(made)
    assert not is_made({"made-by": "imgforge", "imgforge": "made"})
    assert own_tags({**made, "team": "web", "aws:x": "1"}) == {"team": "web"}
