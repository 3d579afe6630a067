"""The minimal guest as an owner finds it: on a larger volume, after a reboot, after a stop."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from imgforge.machine import INSTANCE_TYPES, AcceleratorWish
from imgforge.metadata import HttpTokens, MetadataOptions
from imgforge.start import pick_accelerator
from imgforge.testing.image import ImageWish, find_image
from imgforge.testing.live import LiveInstance, Place
from imgforge.testing.origin import launch
from imgforge.testing.plan import Plan

pytestmark = pytest.mark.boot

_RECIPE = Path(__file__).parents[2] / "guest/recipes/minimal.toml"
_LIMIT_S = 200.0
_COMMAND_LIMIT_S = 30.0
_USER_DATA = b"""#!/bin/sh
echo "once, by $(id -u)" >>/root/ran
echo said
no-such-program
"""
_ONE_GIB_ALMOST = range(1000, 1025)


async def ask(live: LiveInstance, command: str) -> str:
    """Run a command, return what it said."""
    done = await live.shell().run(command, timeout_s=_COMMAND_LIMIT_S)
    assert done.exit_code == 0, done
    return done.output.strip()


async def check(live: LiveInstance) -> str:
    """Check what holds after each boot; return what must stay as it is."""
    assert live.has_agent
    until = "until [ -e /run/acpid.log ]; do sleep 0.1; done"  # the last thing that starts
    assert await ask(live, until) == ""
    assert int(await ask(live, "df -m / | awk 'END { print $2 }'")) in _ONE_GIB_ALMOST
    assert await ask(live, "cat /run/imgforge/instance-id") == live.identity.instance_id
    host_name = "ip-" + live.identity.local_ipv4.replace(".", "-")
    assert (await ask(live, "hostname")).startswith(host_name)
    assert int(await ask(live, "cat /proc/sys/kernel/random/entropy_avail")) > 0
    shown = "\n".join(text for _, text in live.witness.lines)
    assert "does not grow" not in shown
    return await ask(live, "cat /etc/dropbear/* | md5sum")


async def live_through(layout: str, folder: Path, instance_type: str) -> None:
    image = await asyncio.to_thread(
        find_image,
        ImageWish(str(_RECIPE), out=folder / "out", layout=layout),
        until=ExitStack(),
    )
    plan = Plan(
        image,
        await asyncio.to_thread(pick_accelerator, AcceleratorWish.TCG),
        profile=INSTANCE_TYPES[instance_type],
        user_data=_USER_DATA,
        metadata_options=MetadataOptions(http_tokens=HttpTokens.REQUIRED),
        root_gib=1,
    )
    (folder / "scratch/boot").mkdir(parents=True)
    async with launch(plan, Place(folder / "evidence", folder / "scratch")) as live:
        await live.boot()
        kept = await check(live)
        ended = "user data: ended with exit status 127"
        witness = live.witness
        await witness.wait_until(lambda: any(ended in line for _, line in witness.lines), 30)
        lines = [line for _, line in witness.lines]
        assert any(f"imgforge-init: {ended}" in line for line in lines), lines
        assert any("imgforge-init: user data: said" in line for line in lines), lines
        for again in ("reboot", "stop"):
            if again == "reboot":
                await live.reboot(limit_s=60)
            else:
                await live.stop(limit_s=60)
                await live.start()
            assert await check(live) == kept
            assert await ask(live, "cat /root/ran") == "once, by 0"
            assert not any("grown" in line for _, line in live.witness.lines)


@pytest.mark.parametrize(
    ("layout", "instance_type"),
    [
        ("hvm-gpt", "t2.nano"),
        pytest.param("hvm-mbr", "t3.nano", marks=pytest.mark.slow),
        pytest.param("hvm-gpt", "t3.nano", marks=pytest.mark.slow),
        pytest.param("pv", "t2.nano", marks=pytest.mark.slow),
    ],
)
def test_it_grows_once_and_stays_itself(layout: str, instance_type: str, tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(live_through(layout, tmp_path, instance_type), _LIMIT_S))
