"""What `imgforge metadata serve` and `exec` are asked for: their options, and the service."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.instance import read_instance
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.metadata import Instance, Schedule, StandAlone

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
class MetadataOptions:
    """What a metadata service without a machine is to be; times are seconds after the start."""

    instance: InstanceOption = None
    user_data: UserDataOption = None
    imdsv2: ImdsV2Option = None
    faults: FaultsOption = None
    requests: RequestsOption = None
    control: ControlOption = None
    start: StartOption = None
    spot: SpotOption = None
    spot_action: SpotActionOption = "terminate"
    rebalance: RebalanceOption = None
    maintenance: MaintenanceOption = None

    def service(self) -> "StandAlone":
        """Return the service. Raises BadInputError for files that are none."""
        from imgforge.identity_key import installation_signer
        from imgforge.metadata import StandAlone, load_faults

        faults = load_faults(self.faults) if self.faults else ()
        return StandAlone(
            self._instance(),
            installation_signer(),
            faults=faults,
            control=self.control,
            schedule=self._schedule(),
        )

    def _instance(self) -> "Instance":
        from imgforge.metadata import HttpTokens

        instance = read_instance(self.instance, user_data=self.user_data)
        if self.imdsv2 is not None:
            options = replace(instance.options, http_tokens=HttpTokens(self.imdsv2.value))
            instance = replace(instance, options=options)
        return instance

    def _schedule(self) -> "Schedule":
        from imgforge.metadata import Schedule, SpotAction

        try:
            action = SpotAction(self.spot_action)
        except ValueError:
            raise BadInputError(
                f"--spot-action: {self.spot_action!r} is none of {', '.join(SpotAction)}."
            ) from None
        return Schedule(
            start_s=self.start or 0.0,
            spot_interruption_s=self.spot,
            spot_action=action,
            rebalance_s=self.rebalance,
            maintenance_s=self.maintenance,
        )
