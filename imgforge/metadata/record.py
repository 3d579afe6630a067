"""The requests of a guest, as questions can be asked of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from imgforge.metadata.answer import TOKEN_PATH
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.versions import VERSIONS

_TOPS = ("dynamic", "meta-data", "user-data")


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The requests of a machine, in the order in which they were answered."""

    requests: tuple[MetadataRequest, ...]

    @classmethod
    def of(cls, requests: Iterable[MetadataRequest]) -> "RequestRecord":
        """Return the record of requests."""
        return cls(tuple(requests))

    @property
    def token_requests(self) -> tuple[MetadataRequest, ...]:
        """Those for a token, given or not."""
        return tuple(item for item in self.requests if _path(item).rstrip("/") == TOKEN_PATH)

    @property
    def imdsv1_requests(self) -> tuple[MetadataRequest, ...]:
        """Those without a valid token, given an answer or not, but those for a token."""
        for_tokens = {id(item) for item in self.token_requests}
        return tuple(
            item for item in self.requests if not item.token and id(item) not in for_tokens
        )

    @property
    def refused(self) -> tuple[MetadataRequest, ...]:
        """Those that got no answer: status 400 and above, or 0 where nothing came back."""
        return tuple(item for item in self.requests if item.status >= 400 or not item.status)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of the metadata that were asked for, each once, the oldest first."""
        asked = {item.version for item in self.requests}
        return tuple(version for version in VERSIONS if version in asked)

    @property
    def user_agents(self) -> tuple[str, ...]:
        """Who asked, each once, in the order of their first request."""
        return tuple(dict.fromkeys(item.user_agent for item in self.requests))

    def used_only_imdsv2(self) -> bool:
        """Tell whether there was a request, and each but those for a token carried a valid one."""
        return bool(self.requests) and not self.imdsv1_requests

    def asked(self, path: str) -> tuple[MetadataRequest, ...]:
        """Return the requests for a path, under whatever version, a slash at its end or not.

        A path such as "instance-id" or "public-keys/0/openssh-key" is below meta-data/;
        "user-data", "meta-data/…" and "dynamic/…" are below the version; one that begins with a
        slash, as in "/latest/api/token", is whole.
        """
        wanted = path.rstrip("/")
        if wanted.startswith("/"):
            return tuple(item for item in self.requests if _path(item).rstrip("/") == wanted)
        below = wanted if wanted.partition("/")[0] in _TOPS else f"meta-data/{wanted}".rstrip("/")
        return tuple(item for item in self.requests if _below_version(item) == below)

    def fetched(self, path: str) -> bool:
        """Tell whether a path (see `asked`) was fetched with success, and whole."""
        return any(
            item.status == 200 and item.method == "GET" and not item.cut
            for item in self.asked(path)
        )


def _path(request: MetadataRequest) -> str:
    return unquote(request.path.partition("?")[0])


def _below_version(request: MetadataRequest) -> str:
    return _path(request).removeprefix("/").partition("/")[2].rstrip("/")
