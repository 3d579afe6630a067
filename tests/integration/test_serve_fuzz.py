"""Requests of every service, and bent ones: the endpoint fails at none (scripts/fuzz-endpoint)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.endpoint_fuzzing import Fuzzed
from tests.serving import Serving


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder: Path = tmp_path_factory.mktemp("serve") / "catalog"
    with Serving(folder, "--latency", "0s") as serving:
        yield Fuzzed(serving)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_request_is_answered_by_a_failure(fuzzed: Fuzzed, data: st.DataObject) -> None:
    answer = fuzzed.send(data.draw(fuzzed.requests))
    assert answer.status_code < 500 or answer.status_code == 501
