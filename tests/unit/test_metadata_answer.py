"""How 169.254.169.254 answers."""

import json
from dataclasses import replace

import pytest

from imgforge.metadata import Access, HttpTokens, Instance, MetadataOptions
from imgforge.metadata.answer import TOKEN_HEADER, TTL_HEADER, Answer, HttpRequest, answer
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import grow

INSTANCE = Instance(
    "i-0123456789abcdef0",
    "ami-0123456789abcdef0",
    public_keys={"first": "ssh-ed25519 AAAA first\n", "second key": "ssh-rsa BBBB second"},
    user_data=b"#!/bin/sh\necho \xff\n",
)
TOKENS = Tokens(secret=b"s" * 32)
REQUIRED = replace(INSTANCE, options=MetadataOptions(http_tokens=HttpTokens.REQUIRED))


def get(path: str, instance: Instance = INSTANCE, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(HttpRequest("GET", path, named), grow(instance), TOKENS, 100.0)


def text(path: str) -> str:
    reply = get(path)
    assert reply.status == 200, path
    assert reply.headers["content-type"] == "text/plain"
    return reply.body.decode()


def put_token(**headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(HttpRequest("PUT", "/latest/api/token", named), grow(INSTANCE), TOKENS, 100.0)


def test_the_root_lists_every_version_cloud_init_tries() -> None:
    listed = text("/").split("\n")
    assert listed[-1] == "latest"
    assert {"2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23"} <= set(listed)


def test_public_keys_are_listed_by_index_and_name() -> None:
    assert text("/latest/meta-data/public-keys/") == "0=first\n1=second key"
    assert text("/latest/meta-data/public-keys/0/") == "openssh-key"
    assert text("/latest/meta-data/public-keys/0") == "openssh-key"
    key = text("/2009-04-04/meta-data/public-keys/0/openssh-key")
    assert key == "ssh-ed25519 AAAA first\n"
    assert get("/latest/meta-data/public-keys/2/openssh-key").status == 404


def test_without_keys_there_are_no_public_keys() -> None:
    keyless = replace(INSTANCE, public_keys={})
    assert get("/latest/meta-data/public-keys/", keyless).status == 404
    assert b"public-keys" not in get("/latest/meta-data/", keyless).body


def test_user_data_is_bytes_and_missing_without() -> None:
    reply = get("/latest/user-data")
    assert reply.body == b"#!/bin/sh\necho \xff\n"
    assert reply.headers["content-type"] == "application/octet-stream"
    assert get("/latest/user-data", replace(INSTANCE, user_data=b"")).status == 404
    assert get("/latest/user-data", replace(INSTANCE, user_data=None)).status == 404
    assert text("/latest/") == "dynamic\nmeta-data\nuser-data"


def test_the_identity_document_is_json_of_this_instance() -> None:
    document = json.loads(text("/latest/dynamic/instance-identity/document"))
    assert document["instanceId"] == INSTANCE.instance_id
    assert document["region"] == "us-east-1"


def test_the_network_of_the_machine_is_found_by_its_mac() -> None:
    mac = text("/latest/meta-data/mac")
    interfaces = text("/latest/meta-data/network/interfaces/macs/")
    assert interfaces == mac + "/"
    assert text(f"/latest/meta-data/network/interfaces/macs/{mac}/local-ipv4s") == "172.31.16.15"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "///",
        "///latest/user-data",
        "/latest//meta-data/",
        "/nothing",
        "/latest/nothing",
        "/latest/meta-data/../meta-data/",
        "/latest/../../etc/passwd",
        "/latest/meta-data/instance-id/x",
        "/latest/meta-data//",
        "/latest/user-data//",
        "/latest//",
        "latest/user-data",
        "/latest/meta-data/\x00",
        "/latest/meta-data/" + "a" * 100_000,
        "/latest/meta-data" + "/" * 100_000,
        "/" * 100_000,
        "/2099-01-01/meta-data/",
        "/latest/meta-data/public-keys/0=first",
    ],
)
def test_unknown_paths_are_not_found(path: str) -> None:
    assert get(path).status == 404


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    request = HttpRequest(method, "/latest/meta-data/", {})
    assert answer(request, grow(INSTANCE), TOKENS, 0.0).status == 405


@pytest.mark.parametrize("path", ["/2021-03-23/api/token", "/1.0/api/token/"])
def test_a_token_is_given_under_latest_alone(path: str) -> None:
    request = HttpRequest("PUT", path, {TTL_HEADER: "60"})
    assert answer(request, grow(INSTANCE), TOKENS, 0.0).status == 403
    assert get(path).status == 404


def test_one_more_slash_in_front_changes_nothing() -> None:
    """The JavaScript SDK's MetadataService puts its endpoint's before the path's."""
    assert text("//latest/meta-data/ami-id") == INSTANCE.image_id
    assert text("//") == text("/")


def test_a_token_lets_in_until_it_expires() -> None:
    reply = put_token(**{TTL_HEADER: "60"})
    assert reply.status == 200
    assert reply.headers[TTL_HEADER] == "60"
    token = reply.body.decode()
    assert len(token) == 56
    request = HttpRequest("GET", "/latest/meta-data/ami-id", {TOKEN_HEADER: token})
    found = answer(request, grow(REQUIRED), TOKENS, 130.5)
    assert (found.status, found.body, found.token) == (200, INSTANCE.image_id.encode(), True)
    assert found.headers == {
        "content-type": "text/plain",
        "accept-ranges": "none",
        "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT",
        TTL_HEADER: "30",
    }
    assert answer(request, grow(REQUIRED), TOKENS, 160.0).status == 401
    assert answer(request, grow(REQUIRED), Tokens(), 120.0).status == 401


@pytest.mark.parametrize(
    "ttl", ["", "0", "21601", "-1", "1e3", "60s", "٦", "9" * 5000, "0x10", "\x00"]
)
def test_a_token_needs_a_lifetime_from_1_to_21600_seconds(ttl: str) -> None:
    assert put_token(**{TTL_HEADER: ttl}).status == 400


def test_the_lifetime_may_be_the_shortest_and_the_longest() -> None:
    assert put_token().status == 400
    assert put_token(**{TTL_HEADER: "1"}).status == 200
    assert put_token(**{TTL_HEADER: "21600"}).status == 200


def test_a_token_is_not_given_through_a_proxy() -> None:
    assert put_token(**{TTL_HEADER: "60", "x_forwarded_for": "10.0.0.1"}).status == 403


def test_a_token_is_asked_for_by_put_alone() -> None:
    reply = get("/latest/api/token")
    assert reply.status == 405
    assert (reply.headers["allow"], reply.body) == ("OPTIONS, PUT", b"")
    asked = answer(HttpRequest("OPTIONS", "/latest/api/token"), grow(INSTANCE), TOKENS, 0.0)
    assert (asked.status, asked.headers["allow"], asked.token) == (200, "OPTIONS, PUT", False)


@pytest.mark.parametrize("token", ["", "x", "€" * 56, "A" * 56, "A" * 100_000, "=" * 56])
def test_a_false_token_is_refused_even_where_none_is_needed(token: str) -> None:
    headers = {TOKEN_HEADER: token}
    request = HttpRequest("GET", "/latest/meta-data/ami-id", headers)
    assert answer(request, grow(INSTANCE), TOKENS, 0.0).status == 401


def test_without_a_token_version_1_is_answered_only_where_it_is_optional() -> None:
    assert get("/latest/meta-data/ami-id", REQUIRED).status == 401
    assert get("/latest/meta-data/ami-id").status == 200


def test_a_head_is_answered_like_a_get() -> None:
    request = HttpRequest("HEAD", "/latest/meta-data/ami-id", {})
    assert answer(request, grow(INSTANCE), TOKENS, 0.0).status == 200


@pytest.mark.parametrize("path", ["/latest/meta-data/instance-id", "/latest/meta-data/mac"])
def test_a_slash_after_a_text_changes_nothing(path: str) -> None:
    """botocore asks for placement/availability-zone/, EC2 Instance Connect for instance-id/."""
    assert get(path + "/").body == get(path).body
    assert get(path + "//").status == 404


@pytest.mark.parametrize("path", ["/latest", "/latest/meta-data", "/latest/meta-data/placement"])
def test_a_folder_is_listed_with_and_without_its_slash(path: str) -> None:
    assert text(path) == text(path + "/")


def test_an_endpoint_that_is_off_answers_nothing() -> None:
    off = replace(INSTANCE, options=MetadataOptions(http_endpoint=Access.DISABLED))
    for method, path in (("GET", "/"), ("PUT", "/latest/api/token"), ("POST", "/latest/")):
        headers = {TTL_HEADER: "60"}
        assert answer(HttpRequest(method, path, headers), grow(off), TOKENS, 0.0).status == 403


def test_a_token_is_another_instances_even_where_the_secret_is_one() -> None:
    token = put_token(**{TTL_HEADER: "60"}).body.decode()
    request = HttpRequest("GET", "/latest/", {TOKEN_HEADER: token})
    assert answer(request, grow(INSTANCE), TOKENS, 100.0).status == 200
    other = replace(INSTANCE, instance_id="i-0fedcba9876543210")
    assert answer(request, grow(other), TOKENS, 100.0).status == 401


@pytest.mark.parametrize("hops", [0, 65, -1])
def test_a_hop_limit_is_1_to_64(hops: int) -> None:
    with pytest.raises(ValueError, match="hop limit"):
        MetadataOptions(http_put_response_hop_limit=hops)


def test_a_token_is_given_where_two_slashes_are_before_its_path() -> None:
    request = HttpRequest("PUT", "//latest/api/token", {TTL_HEADER: "60"})
    reply = answer(request, grow(INSTANCE), TOKENS, 100.0)
    assert (reply.status, reply.token) == (200, True)
    dated = HttpRequest("PUT", "//2021-03-23/api/token", {TTL_HEADER: "60"})
    assert answer(dated, grow(INSTANCE), TOKENS, 100.0).status == 403
