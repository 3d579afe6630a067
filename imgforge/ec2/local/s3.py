"""S3, over a folder: as strict as AWS's where uploads of images depend on it.

Its operations and their forms are those of botocore's model of S3. What is not here is refused as
NotImplemented.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from imgforge.catalog import RefusedError
from imgforge.ec2.local import s3_buckets, s3_objects, s3_uploads
from imgforge.ec2.local.buckets import Buckets
from imgforge.ec2.local.fault import CutError
from imgforge.ec2.local.rest_xml import Answer, Call, find_call, write_answer
from imgforge.ec2.local.routes import load_service, routes_of
from imgforge.ec2.local.wire import RefusalError, Request, Response
from imgforge.ec2.local.xml_wire import error_xml

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_LOCAL = ".localhost"
Around = Callable[[str], AbstractContextManager[None]]
"""What goes on around an operation, by its name: faults."""
Operation = Callable[[Buckets, Call], Answer]
_OPERATIONS: Mapping[str, Operation] = {
    **s3_buckets.OPERATIONS,
    **s3_objects.OPERATIONS,
    **s3_uploads.OPERATIONS,
}


class S3:
    """The service, as `App` asks it; `folder` is the catalog's place for it."""

    def __init__(self, folder: Path, *, around: Around | None = None) -> None:
        self._around = around
        self._buckets = Buckets(folder)
        self._routes = routes_of(load_service("s3"), frozenset(_OPERATIONS))

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        try:
            call = find_call(self._routes, request, path=_path(request))
            operation = _OPERATIONS.get(call.operation.name)
            if operation is None:
                words = f"{call.operation.name} is not implemented here."
                raise RefusalError("NotImplemented", words, status=501)
            with self._around(call.operation.name) if self._around else nullcontext():
                answer = operation(self._buckets, call)
        except RefusalError as refusal:
            return _refused(refusal, request)
        except RefusedError as error:  # a fault that was asked for
            return _refused(RefusalError(error.code, str(error), status=error.status), request)
        except CutError:
            request.cut()
            raise
        except FileNotFoundError:  # the bucket went away under the operation
            return _refused(s3_buckets.no_bucket(""), request)
        return write_answer(call.operation, answer, namespace=NAMESPACE)


def _path(request: Request) -> str:
    """Return the path with the bucket in it, as of http://BUCKET.localhost/KEY, too."""
    host = request.headers.get("host", "").partition(":")[0]
    return f"/{host[: -len(_LOCAL)]}{request.path}" if host.endswith(_LOCAL) else request.path


def _refused(refusal: RefusalError, request: Request) -> Response:
    headers = {"Content-Type": "application/xml"}
    if "Region" in refusal.told:
        headers["x-amz-bucket-region"] = refusal.told["Region"]
    if refusal.status == 304:
        return Response(304)
    body = error_xml(refusal.code, str(refusal), Resource=request.path, **refusal.told)
    return Response(refusal.status, headers, (body,), len(body))
