import pytest

from imgforge.errors import HostError
from imgforge.rootfs import HostOffer, PackageMode, choose_package_mode

FAKE = ("fakechroot", "fakeroot")


@pytest.mark.parametrize(
    ("variant", "offer", "mode"),
    [
        ("extract", HostOffer(False, "forbidden", False, ()), PackageMode.UNPACK),
        ("minbase", HostOffer(True, "", True, ()), PackageMode.ROOT_NAMESPACE),
        ("minbase", HostOffer(True, "", False, FAKE), PackageMode.FAKECHROOT),
        ("minbase", HostOffer(True, "", False, ()), PackageMode.ROOT),
        ("minbase", HostOffer(False, "", False, FAKE), PackageMode.USER_NAMESPACE),
        ("minbase", HostOffer(False, "forbidden", False, FAKE), PackageMode.FAKECHROOT),
    ],
)
def test_the_first_rung_that_holds_is_taken(
    variant: str, offer: HostOffer, mode: PackageMode
) -> None:
    assert choose_package_mode(variant, offer).mode is mode


def test_the_reason_says_why_not_the_rung_above() -> None:
    offer = HostOffer(False, "Operation not permitted", False, FAKE)
    assert "Operation not permitted" in choose_package_mode("minbase", offer).reason


def test_a_host_that_offers_nothing_is_told_what_it_needs() -> None:
    with pytest.raises(HostError, match="user namespaces do not work") as caught:
        choose_package_mode("minbase", HostOffer(False, "forbidden", False, ("fakeroot",)))
    assert "fakechroot" in caught.value.hint
