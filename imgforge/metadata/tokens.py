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


@dataclass(frozen=True, slots=True)
class Tokens:
    """Issues and checks the tokens of one machine; `secret` is known to nobody else."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def issue(self, *, ttl_s: int, now_s: float) -> str:
        """Return a token that is valid for `ttl_s` seconds from `now_s`: 56 characters, as EC2's.

        Raises ValueError for a `ttl_s` outside 1 to 21600.
        """
        if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
            raise ValueError(f"token TTL: {ttl_s} s, allowed are {MIN_TTL_S} to {MAX_TTL_S}")
        end = struct.pack(">d", now_s + ttl_s)
        return base64.urlsafe_b64encode(end + self._mac(end)).decode()

    def is_valid(self, token: str, *, now_s: float) -> bool:
        """Tell whether `token` was issued here and has not expired."""
        try:
            content = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            return False
        if len(content) != _TOKEN_BYTES or not hmac.compare_digest(
            content[8:], self._mac(content[:8])
        ):
            return False
        (end_s,) = struct.unpack(">d", content[:8])
        return bool(now_s < end_s)

    def _mac(self, content: bytes) -> bytes:
        return hmac.new(self.secret, content, hashlib.sha256).digest()
