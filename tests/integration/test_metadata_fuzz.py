"""A fixed set of hostile requests; `scripts/fuzz` makes as many as one likes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.metadata_fuzzing import Hostile, Services, hold, hostile_requests


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, Services(Path(folder)) as both:
        yield both
        assert both.said == ""


@settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(hostile=hostile_requests())
def test_no_request_brings_the_service_down_or_more_out_of_it_than_it_tells(
    services: Services, hostile: Hostile
) -> None:
    services.check(hostile)


def test_half_requests_by_the_hundred_keep_neither_machine_waiting(services: Services) -> None:
    held = hold(services, 500)
    try:
        assert services.answers("b")
        assert services.answers("a")
        assert services.said == ""
    finally:
        for wire in held:
            wire.close()
