"""Which operation a request means, by botocore's model of the service (protocol rest-xml)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel


@dataclass(frozen=True, slots=True)
class Route:
    """A request's form: what must stand in its path, its query and its headers."""

    operation: OperationModel
    method: str
    path: re.Pattern[str]
    query: tuple[tuple[str, str], ...]
    needed_query: tuple[str, ...]
    needed_headers: tuple[str, ...]

    def match(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> dict[str, str] | None:
        """Return what stands in the path, by its member's name; None where it is another's."""
        if method != self.method:
            return None
        found = self.path.fullmatch(path)
        if found is None:
            return None
        if any(name not in query or value not in {"", query[name]} for name, value in self.query):
            return None
        if any(name not in query for name in self.needed_query):
            return None
        if any(name not in headers for name in self.needed_headers):
            return None
        return {name: unquote(text, errors="replace") for name, text in found.groupdict().items()}

    @property
    def weight(self) -> int:
        """The more a form asks for, the more it is meant."""
        return len(self.query) + len(self.needed_query) + len(self.needed_headers)


def load_service(name: str) -> ServiceModel:
    """Return botocore's model of a service, of its newest version."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), service_name=name)


def routes_of(service: ServiceModel, known: frozenset[str]) -> tuple[Route, ...]:
    """Return the forms of all operations, the most particular first; of equals a known one."""
    routes = [_route(service.operation_model(name)) for name in service.operation_names]
    return tuple(
        sorted(routes, key=lambda route: (-route.weight, route.operation.name not in known))
    )


def _route(operation: OperationModel) -> Route:
    path, _, query = operation.http["requestUri"].partition("?")
    pattern = "".join(
        _placeholder(piece) if piece.startswith("{") else re.escape(piece)
        for piece in re.split(r"(\{[^}]+\})", path)
    )
    needed: dict[str, list[str]] = {"querystring": [], "header": []}
    shape = operation.input_shape
    for member in shape.required_members if shape else ():
        where = shape.members[member].serialization
        if where.get("location") in needed:
            needed[where["location"]].append(where.get("name", member))
    return Route(
        operation,
        operation.http["method"],
        re.compile(pattern + "/?" if pattern != "/" else pattern, re.DOTALL),
        tuple(parse_qsl(query, keep_blank_values=True)),
        tuple(needed["querystring"]),
        tuple(name.lower() for name in needed["header"]),
    )


def _placeholder(piece: str) -> str:
    name = piece[1:-1]
    return f"(?P<{name[:-1]}>.+)" if name.endswith("+") else f"(?P<{name}>[^/]+)"
