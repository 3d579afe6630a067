"""Every form of user data, as cloud-init in a real Debian takes it, against what we say of it."""

import asyncio
import base64
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge.metadata import Access, MetadataOptions
from imgforge.testing.live import LiveInstance, Place
from imgforge.testing.origin import launch
from imgforge.testing.plan import Image, Plan
from imgforge.user_data import (
    KINDS,
    Form,
    Part,
    examine_user_data,
    make_user_data,
)
from tests.boot.conftest import TCG

pytestmark = [pytest.mark.boot, pytest.mark.slow]

_LIMIT_S = 1000.0
_SETTLE = "cloud-init status --wait >/dev/null; true"
# What the include fetches comes from the one server that the guest reaches.
_TAGS = "http://169.254.169.254/latest/meta-data/tags/instance"
TAGS = {
    "Fetched": "#!/bin/sh\necho fetched >>/root/fetched\n",
    "Again": "#!/bin/sh\necho again >>/root/again\n",
}


def _script(name: str) -> bytes:
    return f"#!/bin/sh\necho {name} >>/root/{name}\n".encode()


def _part(mime_type: str, content: bytes, name: str) -> Part:
    kind = KINDS.get(mime_type)
    return (
        Part(name, content, kind, mime_type) if kind else Part(name, content, mime_type=mime_type)
    )


HANDLER = b"""#part-handler
def list_types():
    return ["text/x-own"]

def handle_part(data, ctype, filename, payload):
    if ctype == "text/x-own":
        with open("/root/handler", "a") as file:
            file.write(payload)
"""
CONFIG = b"#cloud-config\nruncmd: [[sh, -c, 'echo config >>/root/config']]\n"
BOOTCMD = b"#cloud-config\nbootcmd: [[sh, -c, 'echo bootcmd >>/root/bootcmd']]\n"
BOOTHOOK = b'#cloud-boothook\n#!/bin/sh\necho "$INSTANCE_ID" >>/root/boothook\n'
TEMPLATE = b"## template: jinja\n#!/bin/sh\necho {{ v1.instance_id }} >>/root/template\n"
ARCHIVE = b"#cloud-config-archive\n- |\n  #!/bin/sh\n  echo archive >>/root/archive\n"
EVERYTHING = (
    _part("text/x-shellscript", _script("script"), "script"),
    _part("text/x-shellscript", "#!/bin/sh\necho grün >>/root/letters\n".encode(), "letters"),
    _part("text/x-shellscript-per-boot", _script("per-boot"), "per-boot"),
    _part("text/cloud-config", CONFIG, "config"),
    _part("text/cloud-boothook", BOOTHOOK, "hook"),
    _part("text/x-include-url", f"#include\n{_TAGS}/Fetched\n".encode(), "include"),
    _part("text/x-include-once-url", f"#include-once\n{_TAGS}/Again\n".encode(), "once"),
    _part("text/part-handler", HANDLER, "handler"),
    _part("text/x-own", b"handler\n", "own"),
    _part("text/jinja2", TEMPLATE, "template"),
    _part("text/cloud-config-archive", ARCHIVE, "archive"),
    _part("application/gzip", gzip.compress(_script("packed"), mtime=0), "packed"),
    _part("text/upstart-job", b"#upstart-job\nexec touch /root/upstart\n", "upstart"),
)


@dataclass(frozen=True, slots=True)
class Guest:
    """The running guest of a test."""

    live: LiveInstance

    async def ask(self, command: str) -> str:
        done = await self.live.shell().run(command, timeout_s=300)
        return done.output.strip() if done.exit_code == 0 else ""

    async def written(self) -> dict[str, str]:
        """Return what user data has left in /root, by file."""
        said = await self.ask("cd /root && grep -H . [a-z]*")
        found: dict[str, str] = {}
        for line in said.splitlines():
            name, _, text = line.partition(":")
            found[name] = f"{found[name]} {text}" if name in found else text
        return found


def boot(
    image: Image, folder: Path, user_data: bytes, then: Callable[[Guest], Awaitable[None]]
) -> None:
    options = MetadataOptions(instance_metadata_tags=Access.ENABLED)
    tags = tuple(TAGS.items())
    plan = Plan(image, TCG, user_data=user_data, metadata_options=options, tags=tags)

    async def live_through() -> None:
        (folder / "scratch").mkdir()
        async with launch(plan, Place(folder / "evidence", folder / "scratch")) as live:
            await live.boot()
            guest = Guest(live)
            await guest.ask(_SETTLE)
            await then(guest)

    asyncio.run(asyncio.wait_for(live_through(), _LIMIT_S))


def test_each_kind_takes_effect_from_a_packed_message_and_as_often_as_said(
    debian_image: Image, tmp_path: Path
) -> None:
    user_data = make_user_data(EVERYTHING, compressed=True)
    examined = examine_user_data(user_data)
    assert examined.wrappings == ("gzip", "mime")
    assert {finding.id for part in examined.parts for finding in part.findings} == {
        "include-url",
        "type-for-handler",
        "upstart-job",
    }

    async def then(guest: Guest) -> None:
        instance_id = guest.live.identity.instance_id
        once = {
            "script": "script",
            "letters": "grün",
            "config": "config",
            "fetched": "fetched",
            "again": "again",
            "handler": "handler",
            "template": instance_id,
            "archive": "archive",
            "packed": "packed",
        }
        always = {"per-boot": "per-boot", "boothook": instance_id}
        assert await guest.written() == {**once, **always}
        await guest.live.reboot(limit_s=300)
        await guest.ask(_SETTLE)
        twice = {name: f"{text} {text}" for name, text in always.items()}
        assert await guest.written() == {**once, **twice}

    boot(debian_image, tmp_path, user_data, then)


@pytest.mark.parametrize(
    ("user_data", "left"),
    [
        pytest.param(_script("script"), {"script": "script"}, id="script"),
        pytest.param(CONFIG, {"config": "config"}, id="cloud-config"),
        pytest.param(f"#include\n{_TAGS}/Fetched\n".encode(), {"fetched": "fetched"}, id="include"),
        pytest.param(BOOTHOOK, {"boothook": ""}, id="boothook"),
        pytest.param(
            make_user_data([EVERYTHING[0]], form=Form.MULTIPART),
            {"script": "script"},
            id="multipart",
        ),
    ],
)
def test_a_form_takes_effect_by_itself(
    debian_image: Image, tmp_path: Path, user_data: bytes, left: dict[str, str]
) -> None:
    assert not examine_user_data(user_data).has_error

    async def then(guest: Guest) -> None:
        written = await guest.written()
        if "boothook" in left:
            assert written == {"boothook": guest.live.identity.instance_id}
        else:
            assert written == left

    boot(debian_image, tmp_path, user_data, then)


def test_what_is_encoded_once_too_often_is_ignored_by_this_cloud_init_as_said(
    debian_image: Image, tmp_path: Path
) -> None:
    user_data = base64.b64encode(_script("script"))
    (told,) = examine_user_data(user_data).findings
    assert told.id == "base64"
    assert "Debian 12's does not" in told.needed

    async def then(guest: Guest) -> None:
        assert await guest.written() == {}
        assert "Unhandled non-multipart" in await guest.ask("cat /var/log/cloud-init.log")

    boot(debian_image, tmp_path, user_data, then)
