"""What the daemon refused, or that it did not answer."""

from __future__ import annotations

MESSAGE_AT_MOST = 300


class DaemonError(Exception):
    """An RPC that failed."""

    def __init__(self, rpc: str, code: str, message: str, *, lost: bool) -> None:
        """`code`: gRPC's name of it; `lost`: there is nobody who could refuse anything, or he says nothing."""
        self.rpc, self.code, self.message, self.lost = rpc, code, message[:MESSAGE_AT_MOST], lost
        super().__init__(": ".join(filter(None, (rpc, code.lower().replace("_", " "), self.message))))

    @property
    def unknown(self) -> bool:
        """The daemon has no such RPC."""
        return self.code == "UNIMPLEMENTED"

    def instead(self, message: str) -> DaemonError:
        """The same, in words that say what to do."""
        return DaemonError(self.rpc, "", message, lost=self.lost)
