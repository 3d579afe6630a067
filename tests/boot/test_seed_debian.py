"""A Debian without a metadata service, told who it is by a NoCloud seed."""

import asyncio
from pathlib import Path

import pytest

from imgforge.testing.live import Place
from imgforge.testing.origin import launch
from imgforge.testing.plan import Image, Plan
from tests.boot.conftest import TCG

pytestmark = [pytest.mark.boot, pytest.mark.slow]

_LIMIT_S = 1000.0
_USER_DATA = b"#!/bin/sh\necho script >>/root/script\n"


def test_a_seed_alone_lets_its_owner_in(debian_image: Image, tmp_path: Path) -> None:
    async def live_through() -> None:
        (tmp_path / "scratch").mkdir()
        plan = Plan(debian_image, TCG, user_data=_USER_DATA, is_seeded=True)
        async with launch(plan, Place(tmp_path / "evidence", tmp_path / "scratch")) as live:
            record = await live.boot()
            assert any(attempt.let_in for attempt in record.logins)
            (verdict,) = live.boots
            assert verdict.accepted, verdict.reason
            assert [check.id for check in verdict.skipped] == ["key-fetched"]
            ssh = live.ssh_shell()
            status = await ssh.run("cloud-init status --wait --long", timeout_s=300)
            assert status.exit_code == 0, status
            assert "DataSourceNoCloud [seed=/dev/vdb]" in status.output
            told = await ssh.run("cat /root/script; hostname; lsblk -no RO /dev/vdb", timeout_s=30)
            name = live.identity.hostname.partition(".")[0]
            assert told.output.split() == ["script", name, "1"]
            dmi = await ssh.run("grep -l Amazon /sys/class/dmi/id/* 2>/dev/null", timeout_s=30)
            assert dmi.output == ""
            assert not live.witness.requests.count

    asyncio.run(asyncio.wait_for(live_through(), _LIMIT_S))
