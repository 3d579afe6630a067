"""What a test can ask of the requests that its machine made."""

import pytest

from imgforge.metadata import MetadataRequest, RequestRecord


def request(
    path: str, *, method: str = "GET", token: bool = True, status: int = 200, agent: str = "curl"
) -> MetadataRequest:
    version = path.removeprefix("/").partition("/")[0]
    return MetadataRequest(1.0, method, path, version, token, status, agent, "172.31.16.15")


TOKEN = request("/latest/api/token", method="PUT")
BEGUN = (
    TOKEN,
    request("/2021-03-23/meta-data/instance-id/", agent="Cloud-Init/22.4.2"),
    request("/latest/meta-data/public-keys/0/openssh-key"),
    request("/latest/user-data?x=1"),
    request("/latest/dynamic/instance-identity/document"),
    request("/latest/meta-data/tags/instance/a%3Ab"),
    request("/latest/meta-data/spot/instance-action", status=404),
)


@pytest.mark.parametrize(
    "path",
    [
        "instance-id",
        "meta-data/instance-id",
        "/2021-03-23/meta-data/instance-id",
        "public-keys/0/openssh-key",
        "user-data",
        "/latest/user-data",
        "dynamic/instance-identity/document",
        "tags/instance/a:b",
    ],
)
def test_what_was_fetched_is_known_by_its_path(path: str) -> None:
    assert RequestRecord(BEGUN).fetched(path)


@pytest.mark.parametrize(
    "path", ["id", "spot/instance-action", "latest/user-data", "/user-data", "", "/", "api/token"]
)
def test_what_was_not_fetched_is_not(path: str) -> None:
    assert not RequestRecord(BEGUN).fetched(path)


def test_a_refused_request_was_asked() -> None:
    record = RequestRecord(BEGUN)
    assert record.asked("spot/instance-action") == (BEGUN[-1],)
    assert record.refused == (BEGUN[-1],)
    assert record.token_requests == (TOKEN,)


def test_only_imdsv2_was_used_where_every_request_had_a_token() -> None:
    assert RequestRecord(BEGUN).used_only_imdsv2()
    assert not RequestRecord(()).used_only_imdsv2()
    without = request("/latest/", token=False, status=401)
    record = RequestRecord((*BEGUN, without))
    assert not record.used_only_imdsv2()
    assert record.imdsv1_requests == (without,)
    refused = request("/latest/api/token", method="PUT", token=False, status=400)
    assert RequestRecord((refused, *BEGUN)).used_only_imdsv2()


def test_it_tells_who_asked_for_which_versions() -> None:
    record = RequestRecord.of((request("/favicon.ico"), *BEGUN))
    assert record.versions == ("2021-03-23", "latest")
    assert record.user_agents == ("curl", "Cloud-Init/22.4.2")
