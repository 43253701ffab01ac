"""An operator whose offers no pod sees: they are accepted on the spot. What is left is pin and assignment alone.

`python -m bench.unoffered` stands in for `python -m pinfleet_operator`; `pin` measures it. The pods list none of the
runs, and nothing is offered again while their acceptance is believed.
"""

from bench.hollow import BOOT
from pinfleet.wire import PROTOCOL, Accepted, Offer
from pinfleet_operator import __main__ as operator
from pinfleet_operator.wire import PodClient, PodTarget

NEVER = 2**50  # number of the change that would show the run


class Unoffering(PodClient):
    """Calls to pods, but for offers."""

    async def offer(self, target: PodTarget, uid: str, offer: Offer) -> Accepted:  # noqa: ARG002 - the client's
        """Accept in the pod's place."""
        return Accepted(protocol=PROTOCOL, version=offer.version, pod_uid=target.pod_uid, boot=BOOT, n=NEVER)


if __name__ == "__main__":
    vars(operator)["PodClient"] = Unoffering  # the one seam there is
    operator.main()
