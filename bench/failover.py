"""`failover`: ten times the leader is killed, ten times it is told to end. How long until the next assignment?

A warm standby is there each time; the run is created right after the signal. Times are from the signal to the moment at
which the API server had answered the assignment, by the audit log. BENCH_LEASE=6,4,1 tries other times of the Lease.
"""

import os
import signal
import time
from itertools import count

from bench.measure import wait_for
from bench.report import Row, save
from bench.restart import assigned_at
from bench.world import OURS, World, run_manifest, runs_path
from hack.stage import SYSTEM_NAMESPACE, OperatorProcess
from pinfleet_operator.lease import LeaseTimes

AFTER_LEASE_SECONDS, CLEAN_SECONDS = 3.0, 2.0
SETTLED_SECONDS = 3.0  # in office before it is ended; the phase between renewals is left to chance
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/pinfleet-operator"
NAMES = ("PINFLEET_LEASE_SECONDS", "PINFLEET_RENEW_DEADLINE_SECONDS", "PINFLEET_LEASE_RETRY_SECONDS")


class Relay:
    """A leader and its standby; the standby leads next, and gets a standby of its own."""

    def __init__(self, world: World, environment: dict[str, str]) -> None:
        self._world, self._environment, self._numbers = world, environment, count()
        self._leader = self._start()
        self._await_term(self._leader)

    def end(self, how: signal.Signals) -> float:
        """Seconds from the signal to the next assignment."""
        standby = self._start()
        time.sleep(SETTLED_SECONDS)
        name, audit, began = f"after-{next(self._numbers)}", self._world.audit(), time.time()
        self._leader.signal(how)
        self._world.admin.ask("POST", runs_path(OURS), run_manifest(name))
        found = assigned_at(audit, name) - began
        self._leader.stop()
        self._leader = standby
        self._await_term(standby)
        return found

    def close(self) -> None:
        """End the last one."""
        self._leader.stop()

    def _start(self) -> OperatorProcess:
        operator = self._world.stage.start_operator(f"relay-{next(self._numbers)}", **self._environment)
        synced = '"event":"synced"'
        wait_for("a warm store", lambda: operator.log.read_text().count(synced) >= 3, 120)  # noqa: PLR2004 - kinds
        return operator

    def _await_term(self, operator: OperatorProcess) -> None:
        def leads() -> bool:
            spec = self._world.admin.ask("GET", LEASE)["spec"]
            return str(spec.get("holderIdentity", "")).startswith(f"{operator.name}_")

        wait_for(f"{operator.name} to lead", leads, 60)


def main(world: World) -> bool:
    """Run the bench; returns whether every try met its goal."""
    tries = int(os.environ.get("BENCH_TRIES", "10"))
    given = os.environ.get("BENCH_LEASE", "")
    environment = dict(zip(NAMES, given.split(","), strict=True)) if given else {}
    lease = int(environment.get(NAMES[0], LeaseTimes().lease))
    world.pause(is_paused=False)
    relay = Relay(world, environment)
    rows, units = [], []
    for how, most in ((signal.SIGKILL, lease + AFTER_LEASE_SECONDS), (signal.SIGTERM, CLEAN_SECONDS)):
        found = [relay.end(how) for _ in range(tries)]
        print(f"    {how.name}: {' '.join(f'{seconds:.2f}' for seconds in found)}", flush=True)
        size = f"{tries} tries, {sum(seconds <= most for seconds in found)} in time"
        worst, goal = max(found), f"at most {most:g} s"
        name = f"{how.name} to the next assignment, longest (Lease {lease} s)"
        rows.append(Row(name, worst, "s", most, worst / most, goal, worst <= most, size))
        units.append({"how": how.name, "lease": lease, "seconds": found})
    relay.close()
    world.delete_runs(OURS)
    save("failover", rows, world.facts(), units)
    return all(row.met is not False for row in rows)
