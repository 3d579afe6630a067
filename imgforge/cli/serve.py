"""`imgforge serve`: EC2 on this host, for the AWS CLI and any SDK."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.metadata_wish import parse_duration
from imgforge.cli.terminal import print_json
from imgforge.errors import ExitCode

PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="0 is a free one.")
]
CatalogOption = Annotated[
    Path | None,
    typer.Option("--catalog", metavar="DIR", help="The catalog, else the user's own."),
]
LatencyOption = Annotated[
    float,
    typer.Option(
        "--latency",
        metavar="DURATION",
        parser=parse_duration,
        help="How long what is made stays pending: 500ms, 20s, 0s.",
    ),
]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="KIND[:ACTION][@N]",
        help="Get this wrong: throttle, error, unavailable, denied, expired, timeout, slow=MSms, "
        "cut, cut-after; of an action or all, from its Nth request (@N once, @N+ on, @N/M each "
        "Mth). May be given several times.",
    ),
]


def serve(
    *,
    port: PortOption = 0,
    catalog: CatalogOption = None,
    latency: LatencyOption = "1s",  # type: ignore[assignment]  # parsed by parse_duration
    fault: FaultOption = None,
) -> int:
    """Answer requests of EC2, EBS direct, S3, KMS, IAM and others, until a signal ends it.

    Prints one line of JSON with the url: AWS_ENDPOINT_URL for the AWS CLI and any SDK. Any
    credentials are good; an access key id of 12 digits is an account of its own. It listens on
    127.0.0.1 alone: whoever reaches the port may do everything, but no page of another host.
    """
    with suppress(KeyboardInterrupt):  # the usual end, from the first moment on
        from imgforge.ec2 import parse_fault
        from imgforge.serve import ServeWish
        from imgforge.serve import serve as run

        wish = ServeWish(
            port=port,
            catalog=catalog,
            pending_s=latency,
            faults=[parse_fault(text) for text in fault or ()],
        )
        run(wish, announce=lambda url: print_json({"url": url}))
    return ExitCode.DONE
