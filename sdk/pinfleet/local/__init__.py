"""Runs in one process, without a cluster: a pod as in production, and what the operator would do for it.

``pod`` is the pod without sockets: the same machine, driver, runtime and journal. ``fleet`` assigns runs to it at
rising epochs, acks, wakes and passes on messages. ``pinfleet-agent run`` and ``pinfleet.testing`` stand on it.
"""

from pinfleet.local.fleet import LocalFleet, LocalRun

__all__ = ["LocalFleet", "LocalRun"]
