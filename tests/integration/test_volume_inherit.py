"""What an instance hands on to its image, asked of a metadata service on loopback."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.metadata import HttpTokens, MetadataOptions
from imgforge.volume import Inherited, ask_instance
from tests.integration.test_bundle_volume import Desk
from tests.metadata_instances import FULL, PLAIN
from tests.metadata_serving import served

INSTANCE = replace(
    FULL,
    kernel_id="aki-919dcaf8",
    ramdisk_id="ari-1a2b3c4d",
    product_codes=("A1B2", "C3D4"),
    ancestor_ami_ids=("ami-0123456789abcdef1",),
)
WANTED = Inherited(
    kernel_id="aki-919dcaf8",
    ramdisk_id="ari-1a2b3c4d",
    mappings=(
        *(("ami", "sda1"), ("ebs1", "sdf"), ("ephemeral0", "sdb"), ("root", "/dev/sda1")),
        ("swap", "sda3"),
    ),
    product_codes=("A1B2", "C3D4"),
    ancestors=("ami-0123456789abcdef1", "ami-0123456789abcdef0"),
)


@pytest.mark.parametrize("tokens", list(HttpTokens))
def test_an_instance_is_asked_by_whichever_version_it_answers(tokens: HttpTokens) -> None:
    instance = replace(INSTANCE, options=MetadataOptions(http_tokens=tokens))
    with served(instance) as service:
        found = ask_instance(service.url)
    assert found is not None
    assert replace(found, mappings=tuple(sorted(found.mappings))) == WANTED


def test_an_instance_without_any_of_it_hands_on_its_ami() -> None:
    with served(PLAIN) as service:
        found = ask_instance(service.url)
    assert found is not None
    assert (found.kernel_id, found.product_codes) == ("", ())
    assert found.ancestors == ("ami-0123456789abcdef0",)


def test_where_nobody_answers_nothing_is_inherited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert ask_instance(f"http://127.0.0.1:{port}") is None
    assert ask_instance(f"http://127.0.0.1:{port}") is None
    for endpoint in ("", "https://x", "http://", "http://[", "file:///etc"):
        assert ask_instance(endpoint) is None


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET  # noqa: N815 (http.server's name)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"\xff" * 99, b"a\n" * 3000, b""])
def test_a_captive_portal_is_no_trouble(body: bytes) -> None:
    with answering(200, body) as url:
        assert ask_instance(url) is None
    with answering(404, body) as url:
        assert ask_instance(url) is None


def test_the_manifest_has_what_was_inherited_unless_it_was_given(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    tree = tmp_path / "tree"
    tree.mkdir()
    del desk.environment["AWS_EC2_METADATA_DISABLED"]
    with served(INSTANCE) as service:
        desk.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = service.url
        more = ("--partition", "none", "-s", "20M")
        done = desk.bundle(tree, *more, "-B", "ami=sda1")
        assert done.returncode == 0, done.stderr
        assert "metadata: inherited aki-919dcaf8, ari-1a2b3c4d, A1B2, C3D4" in done.stderr
        manifest = "image.bundle/image.manifest.xml"
        shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
        assert (shown["kernel_id"], shown["ramdisk_id"]) == ("aki-919dcaf8", "ari-1a2b3c4d")
        assert shown["block_device_mapping"] == {"ami": "sda1"}
        assert shown["product_codes"] == ["A1B2", "C3D4"]
        assert shown["ancestors"] == list(WANTED.ancestors)
        asked = len(service.requests)
        done = desk.bundle(tree, *more, "--no-inherit", "--force")
        assert (done.returncode, len(service.requests)) == (0, asked)
