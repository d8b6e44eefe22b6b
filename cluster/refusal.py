"""What the API server refuses, and why."""

from __future__ import annotations

from cluster.resources import Struct

MESSAGE_AT_MOST = 500


class Status(Struct, frozen=True):
    """`metav1.Status`: why a request was refused."""

    message: str = ""
    reason: str = ""
    code: int = 0


class ApiError(Exception):
    """What the API server refused, and why."""

    def __init__(self, asked: str, code: int, reason: str = "", message: str = "", retry_after_s: float = 0.0) -> None:
        """`asked`: the verb, the resource and what it is called, as in `patch services/status shop/web`."""
        self.asked, self.code, self.reason, self.message = asked, code, reason, message
        self.retry_after_s = retry_after_s
        super().__init__(str(self))

    def __str__(self) -> str:
        said = self.message if len(self.message) <= MESSAGE_AT_MOST else self.message[:MESSAGE_AT_MOST] + "…"
        return f"{self.asked}: {' '.join(filter(None, (str(self.code), self.reason)))}{': ' if said else ''}{said}"

    @property
    def conflict(self) -> bool:
        """The object has changed since it was read, or is there already."""
        return self.code == 409

    @property
    def absent(self) -> bool:
        """There is no such object."""
        return self.code == 404

    @property
    def expired(self) -> bool:
        """What was asked for is too old, or newer than the server knows: everything has to be listed again."""
        return self.code == 410 or "large resource version" in self.message.lower()
