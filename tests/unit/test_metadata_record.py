"""What a test can ask of the requests that its machine made."""

import pytest

from imgforge.metadata import KEPT_REQUESTS, MetadataRequest, RequestLog, RequestRecord


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


def test_two_slashes_before_a_path_are_one() -> None:
    record = RequestRecord((request("//latest/api/token", method="PUT", token=False),))
    assert record.token_requests == record.requests
    assert record.imdsv1_requests == ()
    assert RequestRecord((request("//latest/user-data"),)).fetched("user-data")


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


def test_of_very_many_requests_the_newest_are_kept_and_what_is_true_of_all() -> None:
    log = RequestLog()
    first = (
        request("/2009-04-04/user-data/", agent="first"),
        request("/latest/api/token", method="PUT", token=False, status=400),
    )
    for one in first:
        log.add(one)
    for number in range(KEPT_REQUESTS):
        log.add(request(f"/latest/meta-data/{number}", status=404, agent=f"agent {number}"))
    record = log.record
    assert log.count == KEPT_REQUESTS + 2
    assert len(record.requests) == KEPT_REQUESTS
    assert record.earlier.count == 2
    assert record.used_only_imdsv2()
    assert record.fetched("user-data")
    assert record.fetched("/2009-04-04/user-data")
    assert not record.fetched("0")
    assert record.versions == ("2009-04-04", "latest")
    assert record.user_agents[0] == "first"
    assert [item.path for item in log.since(log.count - 1)] == [record.requests[-1].path]
    assert len(list(log.since(0))) == KEPT_REQUESTS


def test_one_request_without_a_token_is_not_forgotten() -> None:
    log = RequestLog()
    log.add(request("/latest/user-data", token=False))
    for _ in range(KEPT_REQUESTS):
        log.add(TOKEN)
    assert log.record.earlier.imdsv1_count == 1
    assert not log.record.imdsv1_requests
    assert not log.record.used_only_imdsv2()


def test_what_was_learned_of_earlier_requests_stays_small() -> None:
    log = RequestLog()
    for number in range(2 * KEPT_REQUESTS):
        log.add(request(f"/{number}/{number}", status=404, agent=str(number)))
    earlier = log.record.earlier
    assert len(earlier.user_agents) <= 100
    assert not earlier.versions
    assert not earlier.fetched
