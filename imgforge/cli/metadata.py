"""`imgforge metadata`: a metadata service without a machine, for who writes what asks it."""

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.instance import read_instance
from imgforge.cli.terminal import print_json, stderr_console
from imgforge.errors import BadInputError, ExitCode, HostError

if TYPE_CHECKING:
    import asyncio

    from imgforge.metadata import Instance, MetadataRequest, Ordered, StandAlone

metadata_app = typer.Typer(
    help="EC2's metadata service without a machine, for who writes what asks it.",
    no_args_is_help=True,
)
_STDIN = 0
_REPLY_LIMIT_S = 10.0
_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class ImdsV2(StrEnum):
    """Whether IMDSv2's tokens are needed, taken, or unknown."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    OFF = "off"


def parse_duration(text: str) -> float:
    """Return the seconds of "120", "120s", "2m", "1.5h" or "500ms". Raises BadParameter."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration such as 120s, 2m or 500ms")
    return float(match[1]) * _UNITS_S[match[2]]


def _seconds(name: str, words: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        name, metavar="DURATION", help=words, parser=parse_duration
    )
    return option


InstanceOption = Annotated[
    Path | None,
    typer.Option("--instance", metavar="FILE", help="The instance (TOML; see `schema`)."),
]
UserDataOption = Annotated[
    Path | None, typer.Option("--user-data", metavar="FILE", help="Its user data, else the file's.")
]
ImdsV2Option = Annotated[
    ImdsV2 | None,
    typer.Option(
        "--imdsv2",
        metavar="CHOICE",
        help="Tokens: required, optional (the default), or off as before there were any.",
        show_default=False,
    ),
]
FaultsOption = Annotated[
    Path | None,
    typer.Option("--faults", metavar="FILE", help="What it gets wrong (TOML; `schema --faults`)."),
]
RequestsOption = Annotated[
    Path | None,
    typer.Option("--requests", metavar="FILE", help="Write each request there, a line of JSON."),
]
ControlOption = Annotated[
    Path | None,
    typer.Option("--control", metavar="SOCKET", help="Take the orders of `metadata tell` there."),
]
StartOption = Annotated[float | None, _seconds("--start-after", "Refuse connections until then.")]
SpotOption = Annotated[
    float | None, _seconds("--spot-interruption-after", "Give notice of a Spot interruption.")
]
SpotActionOption = Annotated[
    str,
    typer.Option("--spot-action", metavar="ACTION", help="hibernate, stop or terminate."),
]
RebalanceOption = Annotated[float | None, _seconds("--rebalance-after", "Recommend to rebalance.")]
MaintenanceOption = Annotated[
    float | None, _seconds("--maintenance-after", "Schedule a reboot in a day.")
]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for, but the way in."""

    instance: Path | None
    user_data: Path | None
    imdsv2: ImdsV2 | None
    faults: Path | None
    control: Path | None

    def service(self) -> "StandAlone":
        """Return the service. Raises BadInputError for files that are none."""
        from imgforge.identity_key import installation_signer
        from imgforge.metadata import StandAlone, load_faults

        faults = load_faults(self.faults) if self.faults else ()
        return StandAlone(
            self._instance(), installation_signer(), faults=faults, control=self.control
        )

    def _instance(self) -> "Instance":
        from imgforge.metadata import HttpTokens

        instance = read_instance(self.instance, user_data=self.user_data)
        if self.imdsv2 is not None:
            options = replace(instance.options, http_tokens=HttpTokens(self.imdsv2.value))
            instance = replace(instance, options=options)
        return instance


@metadata_app.command()
def serve(
    *,
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 is a free one.")
    ] = 0,
    instance: InstanceOption = None,
    user_data: UserDataOption = None,
    imdsv2: ImdsV2Option = None,
    faults: FaultsOption = None,
    requests: RequestsOption = None,
    control: ControlOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no requests on stderr.")] = False,
    start: StartOption = None,
    spot: SpotOption = None,
    spot_action: SpotActionOption = "terminate",
    rebalance: RebalanceOption = None,
    maintenance: MaintenanceOption = None,
) -> int:
    """Answer on a port of 127.0.0.1, and print one line of JSON with the `url`.

    It ends, with exit code 0, by SIGINT, SIGTERM or SIGHUP, and when its standard input closes
    where that is a pipe or a socket. A terminal, /dev/null or a file as standard input say nothing.
    Lines on such a pipe are orders, as in {"do": "interrupt-spot"}; a line on stdout answers each.
    """
    if sys.stdout is None:
        raise HostError("Standard output is closed: the service's port cannot be told.")
    with suppress(KeyboardInterrupt):  # the usual end, from the first moment on
        from imgforge.interruption import run_async
        from imgforge.metadata import Hosts, bind_loopback

        wanted = _Wish(instance, user_data, imdsv2, faults, control).service()
        wanted = _scheduled(
            replace(wanted, hosts=Hosts.LOCAL),
            start=start,
            spot=spot,
            spot_action=spot_action,
            rebalance=rebalance,
            maintenance=maintenance,
        )
        with _told(requests, show=not quiet) as tell:
            run_async(_serve(wanted, bind_loopback(port), tell))
    return ExitCode.DONE


@metadata_app.command(
    "exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False}
)
def execute(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What to run.")],
    *,
    instance: InstanceOption = None,
    user_data: UserDataOption = None,
    imdsv2: ImdsV2Option = None,
    faults: FaultsOption = None,
    requests: RequestsOption = None,
    control: ControlOption = None,
    show: Annotated[bool, typer.Option("--show", help="Show requests on stderr.")] = False,
    start: StartOption = None,
    spot: SpotOption = None,
    spot_action: SpotActionOption = "terminate",
    rebalance: RebalanceOption = None,
    maintenance: MaintenanceOption = None,
) -> None:
    """Run a command where http://169.254.169.254 is this service, and nothing else is there.

    It runs as the same user in a network of its own (a user namespace, without root), with this
    one's streams and environment, and gets its signals; its exit code is passed on, 128 and the
    signal's number where one ended it. The service is gone with it, and it with the service; what
    it left running in the background ends with it, too.
    IPv6 clients find it at [fd00:ec2::254].
    """
    import asyncio  # it takes 30 ms, and every command begins by loading this module

    from imgforge.metadata import enter_network

    wanted = _Wish(instance, user_data, imdsv2, faults, control).service()
    wanted = _scheduled(
        wanted,
        start=start,
        spot=spot,
        spot_action=spot_action,
        rebalance=rebalance,
        maintenance=maintenance,
    )
    with _told(requests, show=show) as tell:
        code = asyncio.run(_execute(wanted, enter_network(), command=command, tell=tell))
    raise SystemExit(code)


@metadata_app.command()
def tell(
    control: Annotated[Path, typer.Argument(metavar="SOCKET", help="That of --control.")],
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Such as interrupt-spot.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", show_default=False)
    ] = None,
) -> None:
    """Tell a running service what happens to its instance, or what to get wrong.

    Orders: interrupt-spot action=stop in_s=120, withdraw-spot-interruption, recommend-rebalance,
    schedule-maintenance code=instance-stop in_s=86400, end-maintenance event_id=… state=canceled,
    rotate-keys public_keys='{"name": "ssh-ed25519 …"}', rotate-credentials last_s=60,
    set-tags tags='{"Name": "web"}', add-fault path=/ status=503 times=2, clear-faults,
    expire-tokens.
    """
    values = dict(_argument(text) for text in arguments or ())
    reply = _ask(control, json.dumps({**values, "do": order}))
    if not reply.get("ok"):
        raise BadInputError(f"Order {order}: {reply.get('error')}.")


@metadata_app.command()
def schema(
    *, faults: Annotated[bool, typer.Option("--faults", help="That of --faults.")] = False
) -> None:
    """Print the JSON Schema of an instance's file."""
    from imgforge.metadata import faults_schema, instance_schema

    wanted = faults_schema() if faults else instance_schema()
    sys.stdout.write(json.dumps(wanted, indent=2) + "\n")


def _scheduled(
    wanted: "StandAlone",
    *,
    start: float | None,
    spot: float | None,
    spot_action: str,
    rebalance: float | None,
    maintenance: float | None,
) -> "StandAlone":
    from imgforge.metadata import Schedule, SpotAction

    try:
        action = SpotAction(spot_action)
    except ValueError:
        raise BadInputError(
            f"--spot-action: {spot_action!r} is none of {', '.join(SpotAction)}."
        ) from None
    schedule = Schedule(
        start_s=start or 0.0,
        spot_interruption_s=spot,
        spot_action=action,
        rebalance_s=rebalance,
        maintenance_s=maintenance,
    )
    return replace(wanted, schedule=schedule)


async def _serve(
    wanted: "StandAlone", listener: socket.socket, tell: "Callable[[MetadataRequest], None]"
) -> None:
    import asyncio

    from imgforge.metadata import piped_lines, stand_alone

    host, port = listener.getsockname()
    async with stand_alone(wanted, (listener,), tell=tell) as ordered:
        print_json({"url": f"http://{host}:{port}", "pid": os.getpid()})
        async with piped_lines(_STDIN) as lines:
            if lines is None:
                await asyncio.Event().wait()
            else:
                await _obey(lines, ordered)


async def _obey(lines: "asyncio.StreamReader", ordered: "Ordered") -> None:
    from imgforge.metadata import replies

    async for reply in replies(lines, ordered):
        print_json(reply)


async def _execute(
    wanted: "StandAlone",
    listeners: tuple[socket.socket, ...],
    *,
    command: list[str],
    tell: "Callable[[MetadataRequest], None]",
) -> int:
    import asyncio

    from imgforge.command import attach, end_orphans
    from imgforge.metadata import stand_alone

    async with stand_alone(wanted, listeners, tell=tell):
        loop = asyncio.get_running_loop()
        child = attach(command)
        ended = asyncio.Event()
        descriptor = os.pidfd_open(child.pid)
        loop.add_reader(descriptor, ended.set)

        def pass_on(number: int) -> None:
            if number not in {signal.SIGINT, signal.SIGQUIT} or not _has_terminal():
                child.send_signal(number)

        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, pass_on, number)
        try:
            await ended.wait()
            code = child.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            end_orphans()
    return code if code >= 0 else 128 - code


def _has_terminal() -> bool:
    """Tell whether a terminal has us in its foreground: Ctrl-C has gone to the command already."""
    try:
        return os.tcgetpgrp(_STDIN) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def _told(requests: Path | None, *, show: bool) -> "Iterator[Callable[[MetadataRequest], None]]":
    """Yield what shows a request, and writes it to a file as a machine's metadata.jsonl has it."""
    from imgforge.progress import warn

    console = stderr_console()
    with ExitStack() as stack:
        log: FileIO | None = None
        if requests is not None:
            log = stack.enter_context(FileIO(requests, "w"))

        def tell(request: "MetadataRequest") -> None:
            nonlocal log
            if log is not None:
                line = json.dumps(asdict(request), sort_keys=True).encode() + b"\n"
                reason = _reason_not_to_write(log, line)
                if reason:
                    warn(f"File {requests}: cannot be written: {reason}. It gets no more requests.")
                    log = None  # it closes with the block
            if show:
                with suppress(OSError):  # whoever read it has gone
                    console.print(_line(request), markup=False, highlight=False, soft_wrap=True)

        yield tell


def _reason_not_to_write(log: FileIO, line: bytes) -> str:
    """Write a line at once; return why it is not there whole, "" where it is."""
    try:
        return "" if log.write(line) == len(line) else "no space is left"
    except OSError as error:
        return str(error.strerror)


def _line(request: "MetadataRequest") -> str:
    words = [
        f"{request.at_s:8.3f} s ",
        request.method,
        request.path,
        str(request.status) if request.status else "-",
        "IMDSv2" if request.token else "",
        f"[{request.fault}]" if request.fault else "",
        request.user_agent,
    ]
    return " ".join(word for word in words if word)


def _argument(text: str) -> tuple[str, object]:
    name, sign, value = text.partition("=")
    if not sign or name == "do":
        raise BadInputError(f"{text!r} is no NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _ask(control: Path, line: str) -> dict[str, object]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
            wire.settimeout(_REPLY_LIMIT_S)
            wire.connect(str(control))
            wire.sendall(line.encode() + b"\n")
            with wire.makefile("rb") as answers:
                reply = json.loads(answers.readline())
    except (OSError, ValueError) as error:
        raise HostError(
            f"Control socket {control}: no service answers there: {error}.",
            hint="Is `imgforge metadata serve --control` of that path running?",
        ) from None
    return reply if isinstance(reply, dict) else {}
