"""Answers of an endpoint, with limits: how long they take, how large they are, what they look like.

botocore limits the silence between two pieces alone, and takes a log-in page for an empty answer.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from botocore import exceptions as boto

WHOLE_LIMIT_S = 180.0
"""How long an answer may take from its request to its last byte; silence ends it earlier."""
_MOST_BYTES = 64 * 2**20
_PIECE_BYTES = 2**18
_LOOKED_AT_BYTES = 4096
_MOST_SHOWN_CHARACTERS = 60
_XML_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*<(?:\w+:)?(\w+)", re.DOTALL)
# An endpoint in EC2's place may answer as AWS's other query services do.
_REFUSALS = {"Response", "ErrorResponse", "Error"}


class StrangeAnswerError(boto.BotoCoreError):  # type: ignore[misc]  # of no type
    """An answer that the service does not give; `found` says what it has."""

    fmt = "{found}"

    def __init__(self, found: str) -> None:
        super().__init__(found=found)
        self.found = found


class EndlessAnswerError(boto.BotoCoreError):  # type: ignore[misc]  # of no type
    """An answer that did not end in time."""

    fmt = "its answer was waited for, and did not end within {limit_s:g} s"


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer begins with."""

    status: int
    headers: Mapping[str, str]

    @property
    def words(self) -> str:
        """The status and the kind of content, as in "status 200 and text/html"."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip() or "no content type"
        return f"status {self.status} and {_shown(kind)}"


def limit_answers(client: Any, *, service: str) -> None:
    """Let all answers to a client of boto3's be limited; those of S3 that bring objects are not."""
    session = client._endpoint.http_session  # noqa: SLF001 (there is no public way)

    def send(request: Any, event_name: str, **_: Any) -> Any:
        action = event_name.rpartition(".")[2]
        if request.stream_output or action in {"PutObject", "UploadPart"}:
            return None
        answer = send_within(session, request)
        if service != "s3":
            head = Head(answer.status_code, _lower(answer.headers))
            check_answer(head, answer.content, service=service, action=action)
        return answer

    client.meta.events.register("before-send", send)


def send_within(session: Any, request: Any) -> Any:
    """Send a prepared request by a session of botocore's; return the answer, all of it read.

    Raises what botocore raises, EndlessAnswerError, StrangeAnswerError for one that is too large.
    """
    limit_s = WHOLE_LIMIT_S
    end_s = monotonic() + limit_s
    request.stream_output = True  # it is read here

    def exchange() -> Any:
        answer = session.send(request)
        answer._content = _read_whole(answer.raw, end_s)  # noqa: SLF001 (what .content gives)
        return answer

    done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    threading.Thread(target=_tell, args=(exchange, done), daemon=True).start()
    try:
        answer, error = done.get(timeout=limit_s)
    except Empty:
        raise EndlessAnswerError(limit_s=limit_s) from None
    if error is not None:
        raise error
    return answer


def _tell(work: Callable[[], Any], done: "SimpleQueue[tuple[Any, BaseException | None]]") -> None:
    try:
        done.put((work(), None))
    except BaseException as error:
        done.put((None, error))


def _read_whole(raw: Any, end_s: float) -> bytes:
    try:
        content = bytearray()
        while piece := raw.read(_PIECE_BYTES):
            content += piece
            if len(content) > _MOST_BYTES:
                raise StrangeAnswerError(f"more than {_MOST_BYTES >> 20} MiB")
            if monotonic() > end_s:
                raise EndlessAnswerError(limit_s=WHOLE_LIMIT_S)
    except boto.BotoCoreError:
        raw.close()
        raise
    except Exception as error:  # urllib3's own, which botocore's session tells as this
        raw.close()
        raise boto.HTTPClientError(error=error) from None
    return bytes(content)


def check_answer(head: Head, content: bytes, *, service: str, action: str) -> None:
    """Raise StrangeAnswerError for an answer that this service does not give to this action.

    What a gateway says in its place with a status of 500 and more is left as it is: it may pass.
    """
    status = head.status
    if status >= 500:
        return
    if not (200 <= status < 300 or status >= 400):
        where = head.headers.get("location", "")
        raise StrangeAnswerError(
            f"status {status}, a redirection to {_shown(where)}" if where else f"status {status}"
        )
    if service == "ec2":
        found = _XML_ROOT.match(content[:_LOOKED_AT_BYTES])
        root = found[1].decode("ascii", "replace") if found else ""
        if root not in ({f"{action}Response"} if status < 300 else _REFUSALS):
            raise StrangeAnswerError(head.words)
    elif content.strip(b" \t\r\n")[:1] != b"{":
        is_told = "x-amzn-errortype" in head.headers if status >= 400 else not content
        if not is_told:
            raise StrangeAnswerError(head.words)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _shown(text: str) -> str:
    return "".join(one for one in text if one.isprintable())[:_MOST_SHOWN_CHARACTERS]
