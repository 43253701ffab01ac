"""How long the API server asked us to wait (429 with Retry-After), kept for all calls of a client.

Its fairness counts by account, not by object: a queue that backs off one key, while events bring others at once, would
go on asking. Leases are exempt, as they are on the server: who waits with a renewal loses the lead.
"""

from dataclasses import dataclass
from typing import Final

from pinfleet_operator.clock import Clock
from pinfleet_operator.kube.resources import LEASES, Resource

LONGEST_SECONDS: Final = 30.0  # a proxy may ask for an hour; the next 429 asks again


@dataclass
class Patience:
    """Shared by all twins of a client."""

    clock: Clock
    until: float = 0.0  # by CLOCK_BOOTTIME; 0: it asked for nothing

    def hear(self, seconds: float | None) -> None:
        """The server's wish; None: it had none."""
        if seconds is not None:
            self.until = max(self.until, self.clock.boottime() + min(seconds, LONGEST_SECONDS))

    async def wait(self, resource: Resource) -> None:
        """Return once the server may be asked again; an event loop's timer may be early, so that it looks again."""
        while self.until and resource != LEASES:
            left = self.until - self.clock.boottime()
            if left <= 0:
                self.until = 0.0
            else:
                await self.clock.sleep(left)
