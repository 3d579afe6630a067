"""It survives a reboot, and a stop and start; it goes down cleanly, and begins its life once."""

import pytest

from imgforge.testing.suite.life import Life
from imgforge.testing.suite.test_volumes import require_ephemeral


def test_survives_a_reboot(life: Life) -> None:
    before, after = life.born, life.rebooted
    assert after.boot_id != before.boot_id, "it did not reboot"
    assert after.owner == life.machine.login_user, f"SSH logged in {after.owner!r}"
    assert after.kept == "before", "what was written before the reboot is lost"
    assert after.host_keys == before.host_keys, "the reboot changed the host keys"
    assert after.machine_id == before.machine_id, "the reboot changed /etc/machine-id"


def test_instance_store_is_kept_by_a_reboot(life: Life) -> None:
    require_ephemeral(life.machine)
    assert life.born.ephemeral_kept == "before", "nothing could be written to ephemeral0"
    assert life.rebooted.ephemeral == life.born.ephemeral
    assert life.rebooted.ephemeral_kept == "before", "the reboot lost what was on ephemeral0"


def test_survives_a_stop_and_start(life: Life) -> None:
    before, after = life.rebooted, life.restarted
    assert after.boot_id != before.boot_id, "it did not stop"
    assert after.owner == life.machine.login_user, f"SSH logged in {after.owner!r}"
    assert after.kept == "before", "what was written before the stop is lost"
    assert after.host_keys == before.host_keys, "the stop and start changed the host keys"
    assert after.machine_id == before.machine_id, "the stop and start changed /etc/machine-id"


def test_blank_instance_store_is_mounted_after_a_stop(life: Life) -> None:
    require_ephemeral(life.machine)
    assert life.restarted.ephemeral, "ephemeral0 is not mounted after the stop and start"
    assert life.restarted.ephemeral == life.born.ephemeral
    assert not life.restarted.ephemeral_kept


def test_shutdown_is_clean(life: Life) -> None:
    for how, facts in (("a reboot", life.rebooted), ("a stop", life.restarted)):
        told = "\n".join(facts.mended)
        assert not facts.mended, f"after {how} a file system was not clean:\n{told}"


def test_user_data_runs_once(life: Life) -> None:
    if not life.born.runs and life.machine.run("command -v cloud-init").exit_code:
        pytest.skip("the image runs no user data")
    assert life.born.runs == 1, f"the user data ran {life.born.runs} times in the first boot"
    assert life.rebooted.runs == 1, "the user data ran again after a reboot"
    assert life.restarted.runs == 1, "the user data ran again after a stop and start"
