"""Its owner gets in, and nobody else does."""

import re

import pytest

from imgforge.testing import ImageFailure
from imgforge.testing.machine import Machine
from imgforge.testing.suite.life import Life, look
from imgforge.testing.suite.listeners import find_unexpected
from imgforge.testing.suite.ways_in import Stranger

_KEY = re.compile(r"(?:ssh|ecdsa|sk)-[\w@.-]+ (AAAA[\w+/=]+)")
_AUTHORIZED = """
while IFS=: read -r user _ _ _ _ home _; do
    for file in "$home/.ssh/authorized_keys" "$home/.ssh/authorized_keys2"; do
        [ ! -f "$file" ] || while read -r line || [ -n "$line" ]; do
            printf '%s %s\\n' "$user" "$line"
        done <"$file"
    done
done </etc/passwd
"""
_PASSWORDS = {"password", "keyboard-interactive"}


def test_owner_logs_in_with_the_injected_key(shared_machine: Machine) -> None:
    assert shared_machine.ssh.succeed("id -un").strip() == shared_machine.login_user


def test_other_keys_are_refused(shared_machine: Machine, stranger: Stranger) -> None:
    for user in sorted({shared_machine.login_user, "root"}):
        answer = stranger.try_key(user)
        assert not answer.let_in, f"{user} is let in with a key nobody was told of"
        assert answer.refused, f"{user}: {answer.said}"


def test_no_password_is_asked_for(shared_machine: Machine, stranger: Stranger) -> None:
    for user in sorted({shared_machine.login_user, "root"}):
        answer = stranger.try_nothing(user)
        assert not answer.let_in, f"{user} is let in for nothing"
        assert answer.methods, f"{user}: {answer.said}"
        offered = _PASSWORDS.intersection(answer.methods)
        assert not offered, f"{user} is offered: {', '.join(answer.methods)}"


def test_root_is_not_let_in_where_another_user_is(shared_machine: Machine) -> None:
    if shared_machine.login_user == "root":
        pytest.skip("the image's login user is root")
    said = ""
    try:
        uid = shared_machine.ssh.run("id -u", user="root").stdout.strip()
    except ImageFailure as failure:
        uid, said = "", str(failure)
    assert uid != "0", "the owner's key opens root's account, too"
    # Let in, but to be told whom to log in as, or refused: silence is neither.
    assert not said or "Permission denied" in said, f"root is not refused: {said}"


def test_nothing_else_listens(shared_machine: Machine) -> None:
    found = find_unexpected(shared_machine)
    told = f"beside SSH there listens: {', '.join(found)}"
    assert not found, f"{told}. If that is meant, name the ports in the recipe's expect.open_ports"


def test_no_account_has_an_empty_password(shared_machine: Machine) -> None:
    lines = shared_machine.succeed("cat /etc/passwd; cat /etc/shadow 2>/dev/null; true")
    accounts = [line.split(":") for line in lines.splitlines() if ":" in line]
    empty = {account[0] for account in accounts if not account[1]}
    assert not empty, f"accounts with an empty password: {', '.join(sorted(empty))}"


def test_no_account_has_a_key_but_the_owners(shared_machine: Machine) -> None:
    owner = shared_machine.login_user
    found: dict[str, list[tuple[str, str]]] = {}
    for line in shared_machine.succeed(_AUTHORIZED).splitlines():
        user, _, entry = line.partition(" ")
        if (key := _KEY.search(entry)) and not entry.lstrip().startswith("#"):
            found.setdefault(key[1], []).append((user, entry))
    assert found, f"{owner} has no authorized_keys; the key came in by another way"
    assert len(found) == 1, "authorized_keys holds keys of others: " + "; ".join(
        f"{user}: …{key[-20:]}" for key, places in found.items() for user, _ in places
    )
    ((_, places),) = found.items()
    # cloud-init leaves root a line that only says whom to log in as.
    others = [user for user, entry in places if user != owner and 'command="' not in entry]
    assert not others, f"the owner's key also opens {', '.join(others)}"


def test_each_instance_has_host_keys_of_its_own(life: Life, shared_machine: Machine) -> None:
    one, other = life.born.host_keys, look(shared_machine).host_keys
    if not one:
        pytest.skip("no host keys in /etc/ssh or /etc/dropbear")
    both = set(one) & set(other)
    assert not both, f"two instances have the same host keys ({len(both)}): the image's own"


def test_owner_has_sudo_without_a_password(shared_machine: Machine) -> None:
    _require_sudo(shared_machine)
    assert shared_machine.ssh.succeed("sudo -n id -u").strip() == "0"


def test_nobody_else_has_sudo(shared_machine: Machine) -> None:
    _require_sudo(shared_machine)
    users = [line.split(":")[0] for line in shared_machine.succeed("cat /etc/passwd").splitlines()]
    others = [user for user in users if user not in {"root", shared_machine.login_user}]
    listing = "; ".join(f"sudo -n -l -U '{user}'" for user in others)
    told = shared_machine.run(f"LC_ALL=C; export LC_ALL; {listing}", timeout_s=300).output
    may = re.findall(r"^User (\S+) may run", told, re.MULTILINE)
    assert not may, f"these have sudo, too: {', '.join(may)}"


def _require_sudo(machine: Machine) -> None:
    if machine.login_user == "root":
        pytest.skip("the image's login user is root")
    if machine.run("command -v sudo").exit_code:
        pytest.skip("the image has no sudo")
