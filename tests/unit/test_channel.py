"""What the guest's agent says, found in whatever else comes over its port."""

import asyncio
import socket

import pytest

from imgforge.errors import BadInputError
from imgforge.machine.channel import (
    COMMAND_LIMIT_BYTES,
    Answer,
    AnswerReader,
    Channel,
    NoAnswerError,
    encode_command,
)

NONCE = "0123456789abcdef" * 2


def said(stdout: bytes = b"", stderr: bytes = b"", status: bytes = b"0") -> bytes:
    nonce = NONCE.encode()
    return b"%s out\n%s\n%s err\n%s\n%s %s\n" % (nonce, stdout, nonce, stderr, nonce, status)


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        (b"", b""),
        (b"hello\n", b""),
        (b"", b"no\n"),
        (b"\n\n", b"\n"),
        (bytes(range(256)) * 3, bytes(reversed(range(256)))),
        (f"\n{NONCE[:-1]}x err\n".encode(), f"{NONCE} out\n".encode()),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 7, 40, 100_000])
def test_an_answer_is_read_whole_whatever_its_pieces(
    stdout: bytes, stderr: bytes, piece_bytes: int
) -> None:
    whole = b"imgforge-agent 2\nlate output of another\n" + said(stdout, stderr, b"7")
    reader = AnswerReader(NONCE)
    pieces = [whole[at : at + piece_bytes] for at in range(0, len(whole), piece_bytes)]
    answers = [reader.feed(piece) for piece in pieces]
    assert answers[:-1] == [None] * (len(pieces) - 1)
    assert answers[-1] == Answer(7, stdout, stderr)


def test_the_answer_to_another_command_is_none_of_ours() -> None:
    reader = AnswerReader(NONCE)
    assert reader.feed(said(b"old").replace(NONCE.encode(), b"f" * 32)) is None
    assert reader.feed(said(b"new")) == Answer(0, b"new", b"")


def test_a_flood_is_read_to_its_end_and_kept_in_part() -> None:
    reader = AnswerReader(NONCE, kept_bytes=1000)
    whole = said(b"x" * 50_000, b"y" * 999)
    assert reader.feed(whole[:30_000]) is None
    answer = reader.feed(whole[30_000:])
    assert answer is not None
    assert answer.stdout == b"x" * 1000
    assert answer.stderr == b"y" * 999
    assert answer.is_cut
    assert answer.exit_code == 0


@pytest.mark.parametrize("status", [b"", b"x", b"-1", b"99999999999999999999"])
def test_a_status_that_is_no_number_is_a_failure(status: bytes) -> None:
    answer = AnswerReader(NONCE).feed(said(status=status))
    assert answer is not None
    assert answer.exit_code == 255


def test_a_truncated_answer_is_none() -> None:
    whole = said(b"out", b"err", b"12")
    for end in range(len(whole) - 1):
        assert AnswerReader(NONCE).feed(whole[:end]) is None, end


def test_garbage_is_no_answer() -> None:
    assert AnswerReader(NONCE).feed(bytes(range(256)) * 1000) is None


def test_a_command_is_one_line_of_printable_characters() -> None:
    assert encode_command("echo hello") == "echo hello"
    assert encode_command("a\\nb\n\t\u00e9") == "a\\\\nb\\0012\\0011\\0303\\0251"


def test_a_command_that_no_program_can_be_given_is_refused() -> None:
    with pytest.raises(BadInputError, match="NUL"):
        encode_command("a\0b")
    with pytest.raises(BadInputError, match="at most"):
        encode_command("x" * (COMMAND_LIMIT_BYTES + 1))
    assert len(encode_command("x" * COMMAND_LIMIT_BYTES)) == COMMAND_LIMIT_BYTES


HELLO = b"imgforge-agent 2\n"
GOODBYE = "the session is over"


def test_a_session_is_asked_for_and_its_agent_heard_of() -> None:
    async def open_it() -> tuple[bool, bytes]:
        ours, theirs = socket.socketpair()
        channel = Channel(ours, goodbye=GOODBYE)
        theirs.sendall(b"a banner\n" + HELLO)
        with theirs:
            is_open = await channel.open_session(b"open it\n", timeout_s=10)
            assert (channel.is_heard, channel.is_lost) == (is_open, not is_open)
            channel.close()
            return is_open, theirs.recv(100)

    assert asyncio.run(open_it()) == (True, b"open it\n")


@pytest.mark.parametrize("said", [b"", b"ssh: no\n", f"\n{GOODBYE}\n".encode()])
def test_a_session_that_does_not_come_about_is_lost(said: bytes) -> None:
    async def fail() -> tuple[bool, bool, bool]:
        ours, theirs = socket.socketpair()
        channel = Channel(ours, goodbye=GOODBYE)
        theirs.sendall(said)
        with theirs:
            is_open = await channel.open_session(b"open it\n", timeout_s=0.2)
            channel.close()
        return is_open, channel.is_heard, channel.is_lost

    assert asyncio.run(fail()) == (False, False, True)


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_command_whose_session_ends_is_not_waited_for(*, goes_on: bool) -> None:
    async def lose() -> bool:
        ours, theirs = socket.socketpair()
        channel = Channel(ours, goodbye=GOODBYE)
        with theirs:
            if not goes_on:  # a clone's agent said hello before
                theirs.sendall(HELLO)
                assert await channel.heard(10)
            theirs.sendall(f"half an answer\n{GOODBYE}\n".encode())
            with pytest.raises(NoAnswerError, match="session"):
                await channel.run("sleep 100", timeout_s=100)
            channel.close()
        return channel.is_lost and not channel.is_heard

    assert asyncio.run(lose())
