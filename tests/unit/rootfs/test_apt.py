import pytest

from imgforge.errors import BadInputError, HostError
from imgforge.recipe import PackagesSource
from imgforge.rootfs.apt import explain_update
from imgforge.rootfs.lock import describe_base

MIRROR = "http://mirror.example/debian"
IGNORED = (
    "E: Some index files failed to download. They have been ignored, or old ones used instead."
)


def explain(*said: str) -> HostError | BadInputError:
    source = PackagesSource(kind="packages", suite="nosuchsuite", mirrors=(MIRROR,))
    return explain_update(describe_base(source), [MIRROR], said)


@pytest.mark.parametrize(
    "said",
    [
        f"E: The repository '{MIRROR} nosuchsuite Release' does not have a Release file.",
        f"E: Failed to fetch {MIRROR}/dists/nosuchsuite/InRelease  404  Not Found",
        "E: Failed to fetch file:/srv/debian/dists/x/InRelease  File not found - /srv/debian",
    ],
)
def test_a_suite_that_the_mirror_does_not_have_is_the_recipes_fault(said: str) -> None:
    error = explain(said, IGNORED)
    assert isinstance(error, BadInputError)
    assert "Suite nosuchsuite: not on the mirrors" in str(error)
    assert "Check rootfs.source.suite" in (error.hint or "")


@pytest.mark.parametrize(
    "said",
    [
        "Could not connect to mirror.example:80 (192.0.2.1). - connect (111: Connection refused)",
        "Could not resolve 'mirror.example'",
        "403  Forbidden [IP: 192.0.2.1 80]",
        "503  Service Unavailable [IP: 192.0.2.1 80]",
    ],
)
def test_a_mirror_that_cannot_be_reached_is_the_hosts_failure(said: str) -> None:
    fetching = f"E: Failed to fetch {MIRROR}/dists/nosuchsuite/InRelease  {said}"
    unsigned = f"E: The repository '{MIRROR} nosuchsuite Release' does not have a Release file."
    assert isinstance(explain(fetching, IGNORED), HostError)
    assert isinstance(explain(fetching, unsigned), HostError)
