"""The services' own models, as botocore ships them: operations, their parameters and answers."""

import functools
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.regions import EndpointResolver

API_VERSION = "2016-11-15"
"""The one version of EC2's API that SDKs of today ask for."""


@functools.cache
def model_loader() -> Any:
    """Return what loads botocore's models, each once for this process.

    The embedded endpoint and its client share it: EC2's model alone takes a tenth of a second.
    """
    return Loader()


@functools.cache
def service_model(service: str) -> Any:
    """Return botocore's model of "ec2" or "ebs" (half a second for the first)."""
    return ServiceModel(model_loader().load_service_model(service, "service-2"), service)


def find_operation(service: str, name: str) -> Any | None:
    """Return an operation's model; None where the service has none of this name."""
    model = service_model(service)
    return _operation(service, name) if name in model.operation_names else None


@functools.cache
def _operation(service: str, name: str) -> Any:
    found: OperationModel = service_model(service).operation_model(name)
    return found


@functools.cache
def regions() -> tuple[str, ...]:
    """Return the regions that EC2 has, of all partitions."""
    resolver = EndpointResolver(model_loader().load_data("endpoints"))
    found = {
        region
        for partition in resolver.get_available_partitions()
        for region in resolver.get_available_endpoints("ec2", partition)
    }
    return tuple(sorted(found))
