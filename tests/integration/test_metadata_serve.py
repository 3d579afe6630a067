"""`imgforge metadata`: the service without a machine, as whoever develops against it meets it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgforge.cli.command_line import run_command_line

_LIMIT_S = 30
_IMGFORGE = [sys.executable, "-m", "imgforge", "metadata"]
_MISSING_NAMESPACE = "this host refuses a user and network namespace"


@dataclass(frozen=True)
class Served:
    process: "subprocess.Popen[str]"
    port: int

    def ask(self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_LIMIT_S)
        connection.request(method, path, headers=headers or {})
        reply = connection.getresponse()
        body = reply.read().decode()
        connection.close()
        return reply.status, body

    def tell(self, **order: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def serve(*words: str | Path, stdin: int = subprocess.PIPE) -> Iterator[Served]:
    process = subprocess.Popen(
        [*_IMGFORGE, "serve", *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        if not line:
            _, err = process.communicate(timeout=_LIMIT_S)
            raise AssertionError(err)
        told = json.loads(line)
        assert told["pid"] == process.pid
        host, _, port = told["url"].removeprefix("http://").partition(":")
        assert host == "127.0.0.1"
        yield Served(process, int(port))
    finally:
        process.kill()
        process.communicate(timeout=_LIMIT_S)


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*_IMGFORGE, *words], capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """What runs a command in this process, and returns its exit code and what it said.

    Python's start and the imports are most of what a short command takes.
    """

    def run_here(*words: str | Path) -> tuple[int, str]:
        # --debug leaves Python's own warnings and logs as this process has them.
        code = run_command_line(["--debug", "metadata", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run_here


@pytest.fixture(scope="session")
def namespace() -> None:
    """Skip where this host lets nobody make a network of one's own."""
    tried = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("no user and network namespaces on this host")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_answers_and_ends_well_by_a_signal(number: signal.Signals) -> None:
    with serve(stdin=subprocess.DEVNULL) as served:
        assert served.ask("/latest/meta-data/instance-id") == (200, "i-0123456789abcdef0")
        served.process.send_signal(number)
        out, err = served.process.communicate(timeout=_LIMIT_S)
        assert served.process.returncode == 0
        assert out == ""
        assert "GET /latest/meta-data/instance-id 200" in err
        assert "Interrupted" not in err
        with pytest.raises(ConnectionRefusedError):
            served.ask("/")


def test_it_ends_when_the_pipe_that_is_its_standard_input_closes() -> None:
    with serve("--quiet") as served:
        assert served.process.stdin
        served.process.stdin.close()
        served.process.stdin = None
        assert served.process.wait(_LIMIT_S) == 0
        assert served.process.stderr
        assert served.process.stderr.read() == ""


def test_a_file_as_standard_input_does_not_end_it(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open() as empty, serve(stdin=empty.fileno()) as served:
        for _ in range(3):
            assert served.ask("/latest/")[0] == 200
        assert served.process.poll() is None


def test_two_serve_at_once_and_a_port_that_is_taken_is_told(
    command: Callable[..., tuple[int, str]],
) -> None:
    with serve() as one, serve() as two:
        assert one.port != two.port
        code, said = command("serve", "--port", str(one.port))
        assert code == 3
        assert f"Port {one.port} of 127.0.0.1: cannot be taken: Address already" in said
        assert "--port 0" in said
        assert two.ask("/latest/")[0] == 200


def test_a_killed_one_leaves_nothing_and_its_port_can_be_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(room))
    control = tmp_path / "control"
    with serve("--control", control) as served:
        served.ask("/latest/")
        served.process.kill()
        served.process.wait(_LIMIT_S)
        words = ("--port", str(served.port), "--control", control)
        with serve(*words) as again:
            assert again.ask("/latest/")[0] == 200
            again.process.terminate()
            again.process.wait(_LIMIT_S)
    assert not control.exists()
    assert list(room.iterdir()) == []


def test_an_instance_of_a_file_is_told_and_requests_are_written(tmp_path: Path) -> None:
    (tmp_path / "web.toml").write_text(
        'instance_type = "m5.large"\nregion = "eu-west-1"\navailability_zone = "eu-west-1b"\n'
        'user_data = "#!/bin/sh"\n[options]\ninstance_metadata_tags = "enabled"\n'
        '[tags]\nName = "web"\n[iam_role]\nname = "reader"\n',
        encoding="utf-8",
    )
    log = tmp_path / "requests.jsonl"
    with serve("--instance", tmp_path / "web.toml", "--requests", log, "--quiet") as served:
        base = "/latest/meta-data/"
        assert served.ask(base + "placement/availability-zone") == (200, "eu-west-1b")
        assert served.ask(base + "tags/instance/Name") == (200, "web")
        assert served.ask(base + "iam/security-credentials/") == (200, "reader")
        assert served.ask("/latest/user-data") == (200, "#!/bin/sh")
        asked = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert [request["status"] for request in asked] == [200] * 4
        assert asked[0]["path"] == "/latest/meta-data/placement/availability-zone"


def test_a_record_that_cannot_be_written_is_told_once_and_keeps_nobody_waiting() -> None:
    with serve("--requests", "/dev/full", "--quiet") as served:
        assert [served.ask("/latest/")[0] for _ in range(3)] == [200] * 3
        served.process.terminate()
        _, err = served.process.communicate(timeout=_LIMIT_S)
        assert served.process.returncode == 0
        assert err.count("File /dev/full: cannot be written: No space left on device.") == 1


def test_a_bad_file_is_told_with_its_line(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[public_keys]\n'a/b' = 'x'", encoding="utf-8")
    code, said = command("serve", "--instance", path)
    assert code == 2
    assert "bad.toml:2: public_keys.a/b: a name in the metadata has no slash" in said
    path.write_text('[[fault]]\npath = "x"\n', encoding="utf-8")
    code, said = command("serve", "--faults", path)
    assert code == 2
    assert 'bad.toml:1: fault[0]: a path starts with "/"' in said


@pytest.mark.parametrize("words", [("serve",), ("exec", "true")])
def test_more_user_data_than_ec2_takes_is_refused(
    command: Callable[..., tuple[int, str]], tmp_path: Path, words: tuple[str, ...]
) -> None:
    first, *rest = words
    path = tmp_path / "large"
    path.write_bytes(b"x" * 16_385)
    code, said = command(first, "--user-data", path, *rest)
    assert code == 2
    assert "user data of 16385 bytes, where EC2 takes at most 16384" in said
    code, said = command(first, "--user-data", "/dev/zero", *rest)
    assert code == 2
    assert "/dev/zero: is larger than 16 MiB" in said


def test_faults_of_a_file_are_made(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\npath = "/user-data"\nstatus = 503\ntimes = 2\n', encoding="utf-8")
    with serve("--faults", path) as served:
        assert [served.ask("/latest/user-data")[0] for _ in range(3)] == [503, 503, 404]


@pytest.mark.parametrize(
    ("choice", "put", "plain"), [("required", 200, 401), ("optional", 200, 200), ("off", 405, 200)]
)
def test_imdsv2_is_required_optional_or_unknown(choice: str, put: int, plain: int) -> None:
    with serve("--imdsv2", choice) as served:
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        assert served.ask("/latest/api/token", method="PUT", headers=ttl)[0] == put
        assert served.ask("/latest/meta-data/")[0] == plain
        header = {"X-aws-ec2-metadata-token": "none"}
        assert served.ask("/latest/", headers=header)[0] == (200 if choice == "off" else 401)


def test_a_browsers_page_cannot_read_it_by_a_name_of_its_own() -> None:
    with serve() as served:
        assert served.ask("/latest/", headers={"Host": f"rebound.example:{served.port}"})[0] == 403
        for host in ("localhost", "127.0.0.1:1", "instance-data.ec2.internal"):
            assert served.ask("/latest/", headers={"Host": host})[0] == 200


def test_a_signal_before_its_line_is_the_usual_end(tmp_path: Path) -> None:
    """A fifo as its instance: it waits for the file, and has said nothing yet."""
    fifo = tmp_path / "instance"
    os.mkfifo(fifo)
    words = [*_IMGFORGE, "serve", "--user-data", str(fifo)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with fifo.open("wb"):  # once it reads
            process.terminate()
            out, err = process.communicate(timeout=_LIMIT_S)
        assert (process.returncode, out, err) == (0, b"", b"")


def test_a_closed_standard_output_is_told_in_words() -> None:
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *_IMGFORGE, "serve"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    assert ended.returncode == 3
    assert ended.stderr == "Standard output is closed: the service's port cannot be told.\n"


def test_orders_come_by_standard_input_and_each_is_answered() -> None:
    with serve() as served:
        assert served.tell(do="interrupt-spot", action="stop", in_s=60) == {"ok": True}
        status, body = served.ask("/latest/meta-data/spot/instance-action")
        assert (status, json.loads(body)["action"]) == (200, "stop")
        assert served.tell(do="set-tags", tags={"Name": "db"})["ok"]
        assert served.ask("/latest/meta-data/tags/instance/Name") == (200, "db")
        assert served.tell(do="add-fault", path="/", status=500, times=1)["ok"]
        assert [served.ask("/latest/")[0] for _ in range(2)] == [500, 200]
        for order, words in (
            ({"do": "explode"}, "is none of"),
            ({"do": "interrupt-spot", "action": "melt"}, "'hibernate', 'stop' or 'terminate'"),
            ({"do": "interrupt-spot", "when": 1}, "unknown 'when'"),
            ({"do": "interrupt-spot", "instance": {}}, "unknown 'instance'"),
            ({"do": "add-fault", "path": "x"}, 'starts with "/"'),
            ({"do": "add-fault", "path": "/"}, "a fault has"),
            ({"do": "rotate-keys"}, "public_keys"),
            ({"do": "rotate-keys", "public_keys": {"a/b": ""}}, "no slash"),
            ({"do": "set-tags", "tags": 5}, "tags"),
            ({"do": "clear-faults", "all": 1}, "takes nothing else"),
            ({"do": 5}, "an order is"),
            ({"do": "interrupt-spot", "in_s": 1e300}, "at most a year"),
            ({"do": "interrupt-spot", "in_s": float("nan")}, "in_s"),
            ({"do": "schedule-maintenance", "in_s": -1e300}, "at most a year"),
            ({"do": "rotate-credentials", "last_s": float("inf")}, "last_s"),
            ({"do": "add-fault", "path": "/", "bytes_per_s": float("inf")}, "finite number"),
        ):
            answer = served.tell(**order)
            assert not answer["ok"]
            assert words in answer["error"], answer
        assert served.process.stdin
        assert served.process.stdout
        for line in (
            "[]",
            "{",
            "null",
            '"' + "x" * 1000 + '"',
            "[" * 50_000,
            "x" * 65_537,
            "x" * 400_000,
        ):
            served.process.stdin.write(line + "\n")
            served.process.stdin.flush()
            assert not json.loads(served.process.stdout.readline())["ok"]
        assert served.ask("/latest/")[0] == 200


def test_orders_come_by_a_socket_that_only_its_user_opens(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    control = tmp_path / "control"
    with serve("--control", control, stdin=subprocess.DEVNULL) as served:
        assert control.stat().st_mode & 0o777 == 0o600
        told = command("tell", control, "add-fault", "path=/", "status=404", "times=1")
        assert told == (0, "")
        assert [served.ask("/latest/")[0] for _ in range(2)] == [404, 200]
        code, said = command("tell", control, "add-fault", "path=/", "status=1")
        assert code == 2
        assert "400 to 599, found 1" in said
        for words in (("interrupt-spot", "in_s=1e300"), ("rotate-credentials", "last_s=1e999")):
            code, said = command("tell", control, *words)
            assert code == 2
            assert "at most a year" in said
        taken = run("serve", "--control", control)
        assert taken.returncode == 2
        assert "Address already in use" in taken.stderr
        assert served.ask("/latest/")[0] == 200
    code, said = command("tell", tmp_path / "none", "expire-tokens")
    assert code == 3
    assert "no service answers there" in said


def test_the_control_socket_of_another_service_stays(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    control = tmp_path / "control"
    with serve("--control", control) as one:
        control.unlink()
        with serve("--control", control):
            one.process.terminate()
            assert one.process.wait(_LIMIT_S) == 0
            assert command("tell", control, "clear-faults") == (0, "")


def test_events_come_by_themselves_and_a_late_start_refuses_connections() -> None:
    with serve("--start-after", "1s", "--spot-interruption-after", "0") as served:
        with pytest.raises(ConnectionRefusedError):
            served.ask("/")
        wait_until_it_listens(served.port)
        assert served.ask("/latest/meta-data/spot/termination-time")[0] == 200


def wait_until_it_listens(port: int) -> None:
    ends_s = time.monotonic() + _LIMIT_S
    while time.monotonic() < ends_s:
        with socket.socket() as wire:
            if not wire.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on port {port} within {_LIMIT_S} s")


@pytest.mark.parametrize("text", ["soon", "-1", "1d", "1e9", ""])
def test_what_is_no_duration_is_told(command: Callable[..., tuple[int, str]], text: str) -> None:
    code, said = command("serve", f"--start-after={text}")
    assert code == 2
    assert "is no duration such as" in said


def test_the_schemas_are_json(command: Callable[..., tuple[int, str]]) -> None:
    schema = json.loads(command("schema")[1])
    assert "instance_type" in schema["properties"]
    assert "required" not in schema
    assert "fault" in json.loads(command("schema", "--faults")[1])["properties"]


_CLIENT = """
import os, sys, urllib.error, urllib.request
for url in ("http://169.254.169.254/latest/meta-data/ami-id", "http://127.0.0.1:80/"):
    try:
        print(urllib.request.urlopen(url, timeout=5).read().decode())
    except urllib.error.URLError as error:
        print(error.reason.strerror)
print(os.getuid(), sys.stdin.read(), os.environ["OWN"])
sys.exit(7)
"""


@pytest.mark.usefixtures("namespace")
def test_a_command_runs_where_the_service_is_at_its_real_address(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    ended = subprocess.run(
        [*_IMGFORGE, "exec", "--requests", log, "--", sys.executable, "-c", _CLIENT],
        input="said",
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
        env={**os.environ, "OWN": "environment"},
    )
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.splitlines() == [
        "ami-0123456789abcdef0",
        "Connection refused",
        f"{os.getuid()} said environment",
    ]
    assert ended.stderr == ""
    assert json.loads(log.read_text(encoding="utf-8"))["guest_address"] == "172.31.16.15"


_OUTSIDE = """
import socket, sys
for address in sys.argv[1:]:
    try:
        socket.create_connection((address, 80), timeout=5)
        print("reached")
    except OSError as error:
        print(error.strerror)
print(sorted(name for _, name in socket.if_nameindex()))
print(open("/proc/net/route").read().count("\\n"))
"""


@pytest.mark.usefixtures("namespace")
def test_a_command_has_no_way_out(tmp_path: Path) -> None:
    ended = run("exec", "--", sys.executable, "-c", _OUTSIDE, "192.0.2.1", "169.254.0.1")
    assert ended.stdout.splitlines()[:2] == ["Network is unreachable"] * 2, ended.stderr
    assert "'lo'" in ended.stdout.splitlines()[2]
    assert ended.stdout.splitlines()[3] == "1"  # the heading alone


_SIGNALLED = """
import os, signal, sys
def met(number, frame):
    os.write(1, b"met\\n")  # print may be at work below
    sys.exit(5)
signal.signal(signal.SIGTERM, met)
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.usefixtures("namespace")
def test_a_commands_signals_and_end_are_passed_on() -> None:
    words = [*_IMGFORGE, "exec", "--", sys.executable, "-c", _SIGNALLED]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        running.terminate()
        assert running.stdout.readline() == "met\n"
        assert running.wait(_LIMIT_S) == 5
    killed = run("exec", "--", "sh", "-c", "kill -9 $$")
    assert killed.returncode == 128 + 9
    assert run("exec", "--", "sh", "-c", "exit 130").stderr == ""


@pytest.mark.usefixtures("namespace")
def test_a_command_is_gone_with_its_service() -> None:
    words = [*_IMGFORGE, "exec", "--", "sh", "-c", "echo $$; exec sleep 600"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert int(running.stdout.readline())
        running.kill()
        assert running.stdout.read() == ""  # the command's end of the pipe is closed


@pytest.mark.usefixtures("namespace")
def test_what_a_command_leaves_in_the_background_ends_with_it() -> None:
    script = "(setsid sh -c 'sleep 600 & sleep 600' & ); sleep 600 & echo made; exit 3"
    words = [*_IMGFORGE, "exec", "--", "sh", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        # Read to its end: each process of the family holds the pipe open.
        assert running.stdout.read() == "made\n"
        assert running.wait(_LIMIT_S) == 3


@pytest.mark.usefixtures("namespace")
def test_a_command_that_is_none_is_told() -> None:
    ended = run("exec", "--", "/nonexistent/program")
    assert ended.returncode == 2
    assert "Command /nonexistent/program: cannot be started: No such file" in ended.stderr


def test_a_host_that_forbids_it_is_told_in_words() -> None:
    """In a user namespace whose limit of networks is 0 (namespaces(7))."""
    inner = 'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"'
    command = [*_IMGFORGE, "exec", "--", "true"]
    ended = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", inner, "sh", *command],
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if "unshare" in ended.stderr:
        pytest.skip("no user namespaces on this host")
    assert ended.returncode == 3
    assert _MISSING_NAMESPACE in ended.stderr
    assert "AWS_EC2_METADATA_SERVICE_ENDPOINT" in ended.stderr
