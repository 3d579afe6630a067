import pytest

from imgforge.rootfs.exclusion import exclude


@pytest.mark.parametrize(
    "path", ["usr/share/doc/a", "./usr/share/doc/a/b", "usr/share/doc/a/", "usr/share/doc/é"]
)
def test_a_star_covers_everything_below_as_in_dpkg(path: str) -> None:
    assert exclude(["/usr/share/doc/*"]).covers(path)


@pytest.mark.parametrize("path", ["usr/share/doc", "usr/share/doc-base/x", "x/usr/share/doc/a"])
def test_the_folder_itself_and_others_stay(path: str) -> None:
    assert not exclude(["/usr/share/doc/*"]).covers(path)


def test_no_pattern_covers_nothing() -> None:
    assert not exclude(()).covers("etc/passwd")
