"""From the root of a running service: whatever is named is answered, and nothing else is."""

import http.client
from collections.abc import Iterator
from dataclasses import replace

import pytest

from imgforge.metadata import (
    Access,
    HttpTokens,
    Instance,
    Interface,
    LifeCycle,
    MetadataOptions,
    Secrets,
    Signer,
    SpotAction,
    SpotNotice,
)
from imgforge.metadata.versions import VERSIONS
from tests.metadata_instances import FULL, PLAIN
from tests.metadata_serving import Served, served

SIGNER = Signer.generate()
INSTANCES = {
    "plain": PLAIN,
    "full": FULL,
    "full, tokens required": replace(
        FULL, options=replace(FULL.options, http_tokens=HttpTokens.REQUIRED)
    ),
    "three interfaces, one of IPv6 alone": replace(
        PLAIN,
        ipv6s=("2001:db8::1",),
        further_interfaces=(
            Interface("02:00:00:00:00:02", 1, local_ipv4s=("10.0.0.2",)),
            Interface("02:00:00:00:00:03", 2, ipv6s=("2001:db8::3",), vpc_ipv4_cidr_blocks=()),
        ),
    ),
    "odd tags": replace(
        PLAIN,
        tags={"a:b": "1", "@+=,._-": "2", "...": "3", "a" * 128: "", "0": "x/y\n%2F"},
        options=MetadataOptions(instance_metadata_tags=Access.ENABLED),
    ),
    "keys with odd names": replace(
        PLAIN, public_keys={"a=b": "ssh-rsa A", "ü %41?#": "ssh-rsa B"}, user_data=b""
    ),
    "a spot instance that is to stop": replace(
        PLAIN,
        life_cycle=LifeCycle.SPOT,
        spot_notice=SpotNotice(SpotAction.STOP, "2020-11-05T08:24:00Z"),
    ),
}


class Client:
    """Asks as a program in the guest does: one request for each connection."""

    def __init__(self, at: Served) -> None:
        self._port = at.port
        self._headers: dict[str, str] = {}
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "600"}
        if at.service.instance.options.http_tokens is HttpTokens.REQUIRED:
            status, token = self.ask("/latest/api/token", method="PUT", headers=ttl)
            assert status == 200
            self._headers = {"X-aws-ec2-metadata-token": token}

    def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request(method, path, headers=headers or self._headers)
        reply = connection.getresponse()
        body = reply.read()
        connection.close()
        assert reply.headers["Server"] == "EC2ws"
        assert int(reply.headers["Content-Length"]) == len(body) or method == "HEAD"
        return reply.status, body.decode("latin-1")

    def text(self, path: str) -> str:
        status, text = self.ask(path)
        assert status == 200, path
        return text

    def walk(self) -> Iterator[tuple[str, bool]]:
        """Yield each path that listings name from the root on, and whether it is a leaf."""
        pending = []
        for version in self.text("/").split("\n"):
            yield f"/{version}/", False
            for name in self.text(f"/{version}/").split("\n"):
                if name == "user-data":
                    yield f"/{version}/{name}", True
                else:
                    pending.append(f"/{version}/{name}/")
        while pending:
            folder = pending.pop()
            yield folder, False
            for line in self.text(folder).split("\n"):
                assert line, folder
                if folder.endswith("/public-keys/"):
                    pending.append(folder + line.partition("=")[0] + "/")
                elif line.endswith("/"):
                    pending.append(folder + line)
                else:
                    yield folder + line, True


def neighbours(path: str) -> Iterator[str]:
    """Yield paths close to one that is named."""
    bare = path.removesuffix("/")
    for end in ("x", "//", "/x", "/.", "/..", "%2e", "%00", "=0", ";"):
        yield bare + end
    above, _, last = bare.rpartition("/")
    if last and above:
        yield f"{above}//{last}"
        yield f"{above}/./{last}"
    if last != last.upper():
        yield f"{above}/{last.upper()}"


@pytest.mark.parametrize("instance", INSTANCES.values(), ids=INSTANCES)
def test_every_leaf_that_is_named_is_answered_and_nothing_else(instance: Instance) -> None:
    with served(instance, secrets=Secrets(signer=SIGNER)) as at:
        client = Client(at)
        named = dict(client.walk())
        leaves = [path for path, is_leaf in named.items() if is_leaf]
        assert {path.split("/")[1] for path in leaves} == set(VERSIONS)
        assert any(path.endswith("/user-data") for path in leaves) == bool(instance.user_data)
        answered = {path: client.text(path) for path in leaves}
        # The neighbours of the first and the last version say as much as those of all thirty.
        ends = [path for path in named if path.split("/")[1] in {"1.0", "latest"}]
        for wrong in {wrong for path in ends for wrong in neighbours(path)}:
            if wrong not in named and f"{wrong}/" not in named:
                assert client.ask(wrong)[0] == 404, wrong
        at_latest = {path.removeprefix("/latest") for path in leaves if path[:8] == "/latest/"}
        for version in VERSIONS:
            for path in at_latest:
                expected = 200 if f"/{version}{path}" in answered else 404
                assert client.ask(f"/{version}{path}")[0] == expected, (version, path)


def test_an_endpoint_that_is_off_answers_403_to_everything() -> None:
    off = replace(FULL, options=MetadataOptions(http_endpoint=Access.DISABLED))
    with served(FULL) as at:
        paths = [path for path, _ in Client(at).walk()]
        at.service.instance = off
        client = Client(at)
        assert {client.ask(path)[0] for path in (*paths, "/nothing")} == {403}
        assert client.ask("/latest/api/token", method="PUT")[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("HEAD", "/latest/meta-data/ami-id", {}, 200),
        ("HEAD", "/latest/nothing", {}, 404),
        ("GET", "/latest/meta-data/ami-id?x=/nothing", {}, 200),
        ("GET", "/latest/meta-data/ami%2Did", {}, 200),
        ("GET", "/latest/meta-data/ami-id", {"Range": "bytes=0-1"}, 200),
        ("GET", "/latest/meta-data/ami-id", {"If-None-Match": "*"}, 200),
        ("GET", "/latest/meta-data/ami-id", {"Host": "elsewhere.example"}, 200),
        ("GET", "/latest/meta-data/ami-id", {"X-Forwarded-For": "10.0.0.1"}, 200),
        ("PUT", "/latest/api/token", {}, 400),
        ("PUT", "/latest/meta-data/ami-id", {}, 405),
        ("POST", "/latest/api/token", {}, 405),
        ("DELETE", "/", {}, 405),
    ],
)
def test_what_else_clients_send(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    with served(PLAIN) as at:
        found, body = Client(at).ask(path, method=method, headers=headers or None)
    assert found == status
    if method == "HEAD":
        assert body == ""
    elif status == 200:
        assert body == PLAIN.image_id
    elif status in {400, 404}:
        assert "<h1>" in body
