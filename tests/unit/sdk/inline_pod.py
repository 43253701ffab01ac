"""Pods of the SDK's own tests: those of ``pinfleet.testing``, with offers made by hand."""

import json
from typing import Any

import msgspec

from pinfleet.testing import pod
from pinfleet.wire import Offer, OfferLimits


def offer(epoch: int = 1, *, given: object = None, max_steps: int = 100, **more: Any) -> Offer:
    """Return an offer of a run of version v1."""
    limits = OfferLimits(max_steps=max_steps, active_seconds_left=more.pop("active_seconds_left", 1_000.0))
    text = msgspec.Raw(json.dumps(given).encode())
    return Offer(
        name="run", version=more.pop("version", pod.VERSION), epoch=epoch, attempt=1, limits=limits, input=text, **more
    )


class InlinePod(pod.TestPod):
    """One pod, whose runs are offered by hand."""

    async def result_of(self, uid: str, given: object = None) -> Any:
        """Execute a run to its success and return its result."""
        return await self.result(uid, offer(given=given))
