"""The requests of a guest, as questions can be asked of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import unquote

from imgforge.metadata.answer import TOKEN_PATH, plain_path
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.versions import VERSIONS

KEPT_REQUESTS = 10_000
"""How many requests of a machine are kept in memory, each with at most some 3 KiB."""
_KEPT_AGENTS = 100
_TOPS = ("dynamic", "meta-data", "user-data")


@dataclass(slots=True)
class EarlierRequests:
    """What stays known of requests that are no longer kept.

    `imdsv1_count` of the `count` carried no valid token and asked for none; `versions` are those
    asked for, `user_agents` the first hundred, `fetched` the paths got whole, decoded and without a
    slash at the end: there are no more of them than the trees have.
    """

    count: int = 0
    imdsv1_count: int = 0
    versions: set[str] = field(default_factory=set)
    user_agents: dict[str, None] = field(default_factory=dict)
    fetched: set[str] = field(default_factory=set)

    def take(self, request: MetadataRequest) -> None:
        """Learn from one more."""
        path = _path(request).rstrip("/")
        self.count += 1
        self.imdsv1_count += not request.token and path != TOKEN_PATH
        if request.version in VERSIONS:
            self.versions.add(request.version)
        if len(self.user_agents) < _KEPT_AGENTS:
            self.user_agents[request.user_agent] = None
        if _is_fetched(request):
            self.fetched.add(path)

    def copy(self) -> "EarlierRequests":
        """Return what is known by now."""
        return EarlierRequests(
            self.count,
            self.imdsv1_count,
            set(self.versions),
            dict(self.user_agents),
            set(self.fetched),
        )


class RequestLog:
    """The requests of a machine that runs, in bounded memory: the newest 10 000 of them.

    Of those before them it keeps what `EarlierRequests` tells.
    """

    def __init__(self) -> None:
        self._kept: deque[MetadataRequest] = deque()
        self._earlier = EarlierRequests()

    def add(self, request: MetadataRequest) -> None:
        """Keep one more."""
        self._kept.append(request)
        if len(self._kept) > KEPT_REQUESTS:
            self._earlier.take(self._kept.popleft())

    @property
    def count(self) -> int:
        """How many there were, kept or not."""
        return self._earlier.count + len(self._kept)

    def since(self, number: int) -> Iterator[MetadataRequest]:
        """Yield the kept ones from the one `number` on, counted from 0."""
        return islice(self._kept, max(0, number - self._earlier.count), None)

    @property
    def record(self) -> "RequestRecord":
        """What can be asked of them now."""
        return RequestRecord(tuple(self._kept), self._earlier.copy())


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The requests of a machine, in the order in which they were answered.

    Where there were very many, `requests` are the newest and `earlier` tells of the others: what
    asks for single requests knows the newest, a yes or no is about all.
    """

    requests: tuple[MetadataRequest, ...]
    earlier: EarlierRequests = field(default_factory=EarlierRequests)

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
        asked = {item.version for item in self.requests} | self.earlier.versions
        return tuple(version for version in VERSIONS if version in asked)

    @property
    def user_agents(self) -> tuple[str, ...]:
        """Who asked, each once, in the order of their first request."""
        newest = (item.user_agent for item in self.requests)
        return tuple(dict.fromkeys((*self.earlier.user_agents, *newest)))

    def used_only_imdsv2(self) -> bool:
        """Tell whether there was a request, and each but those for a token carried a valid one."""
        asked = self.earlier.count + len(self.requests)
        return asked > 0 and not self.earlier.imdsv1_count and not self.imdsv1_requests

    def asked(self, path: str) -> tuple[MetadataRequest, ...]:
        """Return the requests for a path, under whatever version, a slash at its end or not.

        A path such as "instance-id" or "public-keys/0/openssh-key" is below meta-data/;
        "user-data", "meta-data/…" and "dynamic/…" are below the version; one that begins with a
        slash, as in "/latest/api/token", is whole.
        """
        concerns = _concerns(path)
        return tuple(item for item in self.requests if concerns(_path(item)))

    def fetched(self, path: str) -> bool:
        """Tell whether a path (see `asked`) was fetched with success, and whole."""
        return any(map(_is_fetched, self.asked(path))) or any(
            map(_concerns(path), self.earlier.fetched)
        )


def _concerns(path: str) -> Callable[[str], bool]:
    wanted = path.rstrip("/")
    if wanted.startswith("/"):
        return lambda asked: asked.rstrip("/") == wanted
    below = wanted if wanted.partition("/")[0] in _TOPS else f"meta-data/{wanted}".rstrip("/")
    return lambda asked: _below_version(asked) == below


def _is_fetched(request: MetadataRequest) -> bool:
    return request.status == 200 and request.method == "GET" and not request.cut


def _path(request: MetadataRequest) -> str:
    return plain_path(unquote(request.path.partition("?")[0]))


def _below_version(path: str) -> str:
    return path.removeprefix("/").partition("/")[2].rstrip("/")
