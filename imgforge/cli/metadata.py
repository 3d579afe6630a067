"""`imgforge metadata`: a metadata service without a machine, for who writes what asks it."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.metadata_requests import told_requests
from imgforge.cli.metadata_wish import MetadataOptions
from imgforge.cli.option_group import with_groups
from imgforge.cli.terminal import print_json
from imgforge.errors import BadInputError, ExitCode, HostError

if TYPE_CHECKING:
    import asyncio

    from imgforge.metadata import MetadataRequest, Ordered, StandAlone

metadata_app = typer.Typer(
    help="EC2's metadata service without a machine, for who writes what asks it.",
    no_args_is_help=True,
)
_STDIN = 0
_REPLY_LIMIT_S = 10.0


@metadata_app.command()
@with_groups
def serve(
    *,
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 is a free one.")
    ] = 0,
    options: MetadataOptions,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no requests on stderr.")] = False,
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

        wanted = replace(options.service(), hosts=Hosts.LOCAL)
        with told_requests(options.requests, show=not quiet) as tell:
            run_async(_serve(wanted, bind_loopback(port), tell))
    return ExitCode.DONE


@metadata_app.command(
    "exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False}
)
@with_groups
def execute(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="What to run.")],
    *,
    options: MetadataOptions,
    show: Annotated[bool, typer.Option("--show", help="Show requests on stderr.")] = False,
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

    with told_requests(options.requests, show=show) as tell:
        code = asyncio.run(_execute(options.service(), enter_network(), command=command, tell=tell))
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
