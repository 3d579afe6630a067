"""boto3's clients of one session: made when they are first asked for, each once."""

import threading
from typing import Any

import boto3
from botocore.config import Config

from imgforge.ec2.answer_limits import limit_answers
from imgforge.ec2.endpoint import refuse_unusable
from imgforge.ec2.problem import explained
from imgforge.errors import BadInputError


class Clients:
    """The clients of a session, by service and region; may be asked by several threads.

    `url` is the endpoint of all services, "" where boto3 finds each one's own: by a profile, by
    AWS_ENDPOINT_URL, by AWS_ENDPOINT_URL_EC2, _EBS and _S3.
    """

    def __init__(
        self, session: boto3.session.Session, *, url: str, config: Config, attempts: int
    ) -> None:
        self._session = session
        self._url = url
        self._config = config
        self._made: dict[tuple[str, str, str], Any] = {}
        self._turn = threading.Lock()
        self.attempts = attempts

    def client(self, service: str, region: str, *, own: Config | None = None) -> Any:
        """Return the client of a service ("s3", "ec2", "ebs") in a region.

        `own` is what the client's configuration has in place of the session's. Raises
        BadInputError for a region that is none, CloudError.
        """
        config = self._config if own is None else self._config.merge(own)
        key = (service, region, repr(own and sorted(vars(own).items(), key=str)))
        with self._turn, explained("Endpoint"):
            if key not in self._made:  # a session itself is not safe between threads
                made = self._made_client(service, region, config)
                limit_answers(made, service=service)
                self._made[key] = made
            return self._made[key]

    def _made_client(self, service: str, region: str, config: Config) -> Any:
        try:
            made = self._session.client(
                service, region_name=region, endpoint_url=self._url or None, config=config
            )
        except ValueError as error:
            if not str(error).startswith("Invalid endpoint"):
                raise
            raise BadInputError(  # boto3 would show the URL, with what secret is in it
                "Endpoint: what AWS_ENDPOINT_URL or a profile names is no URL of http or https."
            ) from None
        refuse_unusable(made.meta.endpoint_url)
        return made

    @property
    def credentials(self) -> Any:
        """What the session signs with; None where there is nothing."""
        with self._turn, explained("Endpoint"):
            return self._session.get_credentials()
