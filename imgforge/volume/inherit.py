"""What an instance hands on to an image of it: asked of its own metadata service, in little time.

As ec2-bundle-vol does without --no-inherit: kernel-id, ramdisk-id, block-device-mapping/,
product-codes and ancestor-ami-ids below http://169.254.169.254/latest/meta-data/ ("Instance
Metadata Categories"); by a token where the service gives one (IMDSv2).
"""

import http.client
import re
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

_LIMIT_S = 1.0
_WHOLE_LIMIT_S = 5.0
_LARGEST_BYTES = 65536
_SESSION_S = "60"
_WORD = re.compile(r"[\x21-\x7e]{1,256}")
_NAME = re.compile(r"[a-z][a-z0-9]{0,31}")


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the metadata service said; texts are empty, and tuples too, where it has nothing."""

    kernel_id: str = ""
    ramdisk_id: str = ""
    mappings: tuple[tuple[str, str], ...] = ()
    product_codes: tuple[str, ...] = ()
    ancestors: tuple[str, ...] = ()


def ask_instance(endpoint: str) -> Inherited | None:
    """Ask the metadata service at `endpoint`; None where there is none.

    It takes 5 s at most, and 1 s where nobody answers.
    """
    try:
        service = _Service(endpoint)
        listed = service.get("")
        if listed is None:
            return None
        return Inherited(
            kernel_id=_first(service.get("kernel-id")),
            ramdisk_id=_first(service.get("ramdisk-id")),
            mappings=tuple(_mappings(service)),
            product_codes=_words(service.get("product-codes")),
            ancestors=(*_words(service.get("ancestor-ami-ids")), *_words(service.get("ami-id"))),
        )
    except (OSError, http.client.HTTPException, ValueError):
        return None


class _Service:
    """One HTTP connection after another, all within a limit."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}", scheme="http")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{endpoint} is no http address")
        self._host, self._port = parts.hostname, parts.port or 80
        self._end_s = time.monotonic() + _WHOLE_LIMIT_S
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": _SESSION_S}
        token = self._ask("PUT", "/latest/api/token", asked)
        self._headers = {"X-aws-ec2-metadata-token": token.strip()} if token else {}

    def get(self, name: str) -> str | None:
        """Return a category's text; None where it is not there."""
        return self._ask("GET", f"/latest/meta-data/{name}", self._headers)

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the metadata service takes too long")
        connection = http.client.HTTPConnection(
            self._host, self._port, timeout=min(_LIMIT_S, left_s)
        )
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            text = answer.read(_LARGEST_BYTES)
        finally:
            connection.close()
        return text.decode("utf-8", errors="replace") if answer.status == 200 else None


def _first(text: str | None) -> str:
    return next(iter(_words(text)), "")


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word for word in (text or "").split() if _WORD.fullmatch(word))


def _mappings(service: _Service) -> list[tuple[str, str]]:
    names = [name for name in _words(service.get("block-device-mapping/")) if _NAME.fullmatch(name)]
    found = [(name, _first(service.get(f"block-device-mapping/{name}"))) for name in names]
    return [(name, device) for name, device in found if device]
