import pytest

from imgforge.errors import BadInputError, HostError
from imgforge.recipe import PackagesSource
from imgforge.rootfs.lock import describe_base
from imgforge.rootfs.mirror import Mirror, list_archives, list_mirrors, parse_line, split_uri


def test_a_url_serves_the_suite_and_its_components() -> None:
    source = PackagesSource(
        kind="packages", suite="bookworm", components=("main", "contrib"), mirrors=("http://a/d",)
    )
    assert list_mirrors(describe_base(source)) == [Mirror("http://a/d", "bookworm main contrib")]


def test_a_whole_line_is_taken_as_it_is() -> None:
    line = "deb [trusted=yes arch=amd64] file:///srv/repository ./"
    assert parse_line(line) == Mirror("file:///srv/repository", "./", "trusted=yes arch=amd64")
    assert parse_line(line).line("signed-by=/k") == line


def test_options_go_to_lines_without_their_own() -> None:
    assert (
        Mirror("http://a/d", "sid main").line("arch=amd64")
        == "deb [arch=amd64] http://a/d sid main"
    )
    assert Mirror("http://a/d", "sid main").line() == "deb http://a/d sid main"


@pytest.mark.parametrize("line", ["", "deb", "deb ", "deb http://a", "deb-src http://a x", "\0"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(BadInputError, match="a line of sources"):
        parse_line(line)


def test_a_package_is_known_by_its_archive_and_its_path_there() -> None:
    mirrors = [
        Mirror("http://a/debian/", "x main"),
        Mirror("http://a/debian-security", "x-security main"),
        Mirror("http://a/debian", "x-updates main"),
        Mirror("file:///srv/r", "./"),
    ]
    archives = list_archives(mirrors)
    assert archives == ["http://a/debian", "http://a/debian-security", "file:/srv/r"]
    assert split_uri("http://a/debian/pool/b.deb", archives) == (0, "pool/b.deb")
    assert split_uri("http://a/debian-security/pool/b.deb", archives) == (1, "pool/b.deb")
    assert split_uri("file:/srv/r/./b.deb", archives) == (2, "./b.deb")
    with pytest.raises(HostError, match="none of the mirrors"):
        split_uri("http://b/pool/b.deb", archives)
