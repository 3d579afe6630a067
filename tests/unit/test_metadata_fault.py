"""What the metadata service may be told to get wrong."""

import pytest

from imgforge.metadata import Fault, Faults


def test_a_fault_is_met_under_every_version_and_below_its_path() -> None:
    faults = Faults([Fault("/meta-data/public-keys", status=500)])
    for version in ("latest", "2009-04-04", "1.0"):
        assert faults.meet(f"/{version}/meta-data/public-keys/0/openssh-key")
    assert faults.meet("/latest/meta-data/instance-id") is None
    assert faults.meet("/latest/user-data") is None


def test_a_path_with_a_version_is_meant_under_that_one_only() -> None:
    faults = Faults([Fault("/latest/api/token", status=403)])
    assert faults.meet("/latest/api/token")
    assert faults.meet("/2009-04-04/api/token") is None


def test_a_fault_with_a_count_is_made_so_often_and_then_no_more() -> None:
    faults = Faults([Fault("/", status=503, times=2), Fault("/user-data", delay_s=1)])
    met = [faults.meet("/latest/user-data") for _ in range(3)]
    assert [fault.status if fault else 0 for fault in met] == [503, 503, None]


def test_faults_come_and_go() -> None:
    faults = Faults()
    assert faults.meet("/latest/") is None
    faults.add(Fault("/", status=404))
    assert faults.meet("/latest/")
    faults.clear()
    assert faults.meet("/latest/") is None


@pytest.mark.parametrize(
    ("path", "status", "delay_s", "words"),
    [
        ("meta-data", 500, 0, 'starts with "/"'),
        ("/", 999, 0, "999"),
        ("/", None, 0, "a status, a delay_s"),
        ("/", 500, -1, "0 to 3600"),
    ],
)
def test_a_fault_that_is_none_is_refused(
    path: str, status: int | None, delay_s: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Fault(path, status=status, delay_s=delay_s)
