"""What is likelier right after something happened that it may race with: users and pods are not told to stay away.

A random deed hits a window of some milliseconds once in thousands of schedules. These are drawn as others are, and
begin when a window opens.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.sim.deeds import Deeds
from tests.sim.record import Claimed, Committed
from tests.sim.world import FLEET, NAMESPACE, World

SOON_SECONDS = 1.5


class Near:
    """Looks at one world and acts."""

    def __init__(self, world: World, seed: int, odds: float, deeds: Deeds) -> None:
        self.world, self.odds, self._deeds = world, odds, deeds
        self.rng = random.Random(f"near {seed}")
        self.is_over = False
        self._active = ""
        world.server.listeners.append(self._changed)
        world.record.on_event.append(self._recorded)

    def _changed(self, plural: str, verb: str, item: dict[str, Any]) -> None:
        if plural == "agentdeployments" and verb != "DELETED" and item["metadata"]["name"] == FLEET:
            active = item.get("status", {}).get("activeVersion", "")
            if active != self._active:  # rules 3 and 4: created after the switch
                self._active = active
                self._soon(self._deeds.start)
                self._soon(self._deeds.deploy)
        elif plural == "pods" and verb == "MODIFIED" and self._is_candidates(item):
            self._soon(self._deeds.start, within_seconds=0.5)  # rule 7: pinned right before the switch

    def _is_candidates(self, pod: dict[str, Any]) -> bool:
        conditions = pod.get("status", {}).get("conditions", ())
        is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        version = pod["metadata"]["labels"].get("pinfleet.dev/version")
        return is_ready and bool(version != self._active)

    def _recorded(self, event: Claimed | Committed) -> None:
        if not isinstance(event, Committed) or event.status != "committed":
            return
        if event.parks:  # rule 9: beside its park
            self._soon(lambda: self._to(event.run, self.rng.choice((self.world.cancel, self._send))))
        elif event.end is not None:  # rule 10: beside its end
            self._soon(lambda: self._to(event.run, self.world.cancel))

    def _to(self, uid: str, do: Callable[[str], None]) -> None:
        """Do something to a run, if it is there and open."""
        for run in self.world.server.all("agentruns"):
            if run["metadata"]["uid"] == uid and run["metadata"]["name"] in self.world.open_runs():
                do(run["metadata"]["name"])

    def _send(self, name: str) -> None:
        if self.world.lacks_message(name):
            self.world.send(name, 1)

    def _soon(self, do: Callable[[], object], within_seconds: float = SOON_SECONDS) -> None:
        if not self.is_over and self.rng.random() < self.odds:
            asyncio.get_running_loop().call_later(self.rng.random() * within_seconds, self._do, do)

    def _do(self, do: Callable[[], object]) -> None:
        if not self.is_over and ("agentdeployments", NAMESPACE, FLEET) in self.world.server.objects:
            do()
