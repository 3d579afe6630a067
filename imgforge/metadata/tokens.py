"""IMDSv2 session tokens, which carry their own end: nothing to store, so nothing to fill up.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
"""

import base64
import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass, field

MIN_TTL_S = 1
MAX_TTL_S = 21600
_MAC_BYTES = 32
_TOKEN_BYTES = 8 + _MAC_BYTES


@dataclass(slots=True)
class Tokens:
    """Issues and checks the tokens of one machine; `secret` is known to nobody else."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def issue(self, *, ttl_s: int, instance_id: str, now_s: float) -> str:
        """Return a token for an instance, valid for `ttl_s` seconds: 56 characters, as EC2's.

        Raises ValueError for a `ttl_s` outside 1 to 21600.
        """
        if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
            raise ValueError(f"token TTL: {ttl_s} s, allowed are {MIN_TTL_S} to {MAX_TTL_S}")
        end = struct.pack(">d", now_s + ttl_s)
        return base64.urlsafe_b64encode(end + self._mac(end, instance_id)).decode()

    def expire(self) -> None:
        """Let no token be valid that was given so far."""
        self.secret = secrets.token_bytes(len(self.secret))

    def left_s(self, token: str, *, instance_id: str, now_s: float) -> float:
        """Return the seconds for which `token` is still valid, 0 where it is not.

        Clones of one machine share a secret, so a token also holds to its instance's id.
        """
        try:
            content = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            return 0.0
        if len(content) != _TOKEN_BYTES or not hmac.compare_digest(
            content[8:], self._mac(content[:8], instance_id)
        ):
            return 0.0
        (end_s,) = struct.unpack(">d", content[:8])
        return max(0.0, float(end_s) - now_s)

    def _mac(self, end: bytes, instance_id: str) -> bytes:
        return hmac.new(self.secret, end + instance_id.encode(), hashlib.sha256).digest()
