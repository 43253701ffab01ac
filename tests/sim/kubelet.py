"""Starts, probes, stops and loses pods, as kubelets, nodes and the node controller do; all nodes in one."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from pinfleet.agent import Agent
from pinfleet.rules import Rules
from pinfleet_operator.api import keys
from tests.sim.journal import SimJournal
from tests.sim.pod import PodPlan, SimPod
from tests.sim.record import Record
from tests.sim.server import Json, Server, stamp

START_SECONDS = 2.0
GRACE_SECONDS = 30.0
NODE_CONTROLLER_SECONDS = 40.0  # after which a silent node's pods are no longer Ready


class SimKubelet:
    """Every node's kubelet."""

    def __init__(self, server: Server, agent: Agent, rules: Rules, record: Record) -> None:
        self._server, self._agent, self._rules, self._record = server, agent, rules, record
        self.journal = SimJournal(rules, record)
        self.processes: dict[str, SimPod] = {}  # by pod uid
        self.by_ip: dict[str, SimPod] = {}
        self.lost_nodes: set[str] = set()  # pod uids whose node is gone
        self.start_seconds = START_SECONDS
        self.node_controller_seconds = NODE_CONTROLLER_SECONDS
        self.restarts_in_place = False  # as with another restartPolicy than Never
        self.rng, self.reuses_ips = random.Random("ips"), 0.0  # odds that a pod gets the address of a dead one
        self.reuses_ip: str | None = None  # the next pod gets this address
        self.plan_of: Callable[[Json], dict[str, Any]] = lambda _pod: {}  # what a pod is started with beside the usual
        self._terminating: set[str] = set()  # pod uids
        self._tasks: set[asyncio.Task[None]] = set()
        self._ips = 0
        server.listeners.append(self._see)

    # Objects

    def _see(self, plural: str, verb: str, pod: Json) -> None:
        if plural != "pods":
            return
        meta = pod["metadata"]
        if verb == "ADDED":
            self.spawn(self._bring_up(meta["uid"]))
        elif verb == "DELETED":
            process = self.processes.get(meta["uid"])
            if process is not None and meta["uid"] not in self.lost_nodes:
                process.kill()
        elif "deletionTimestamp" in meta:
            self.spawn(self._terminate(meta["uid"]))

    def spawn(self, work: Any) -> None:
        """Run something until the simulation ends."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bring_up(self, uid: str) -> None:
        await asyncio.sleep(self.start_seconds)
        pod = self.find(uid)
        if pod is None or uid in self.processes or "deletionTimestamp" in pod["metadata"]:
            return
        ip = self.reuses_ip or self._next_ip()
        self.reuses_ip = None
        self._start(pod, 1, ip)
        self._status(uid, phase="Running", podIP=ip, conditions=[self._ready(is_ready=True)])

    def _next_ip(self) -> str:
        """Now and then the address of a pod that is gone."""
        free = [ip for ip, pod in self.by_ip.items() if not pod.is_alive]
        if free and self.rng.random() < self.reuses_ips:
            return self.rng.choice(free)
        self._ips += 1
        return f"10.0.0.{self._ips}"

    def _start(self, pod: Json, boot: int, ip: str) -> None:
        meta = pod["metadata"]
        plan = PodPlan(
            uid=meta["uid"],
            name=meta["name"],
            version=meta["labels"][keys.LABEL_VERSION],
            **({"capacity": _capacity(pod)} | self.plan_of(pod)),
        )
        process = SimPod(plan, boot, self._agent, self.journal, self._rules, self._record)
        process.on_exit = lambda: self._exited(process)
        self.processes[meta["uid"]] = process
        self.by_ip[ip] = process

    async def _terminate(self, uid: str) -> None:
        if uid in self._terminating or uid in self.lost_nodes:
            return
        self._terminating.add(uid)
        try:
            await self._drain(uid)
        finally:
            self._terminating.discard(uid)
        if uid not in self.lost_nodes:  # else it goes once its node is back
            process = self.processes.get(uid)
            if process is not None:
                process.on_exit = lambda: None
                process.kill(0)
            self._remove(uid)

    async def _drain(self, uid: str) -> None:
        process = self.processes.get(uid)
        if process is None or not process.is_alive:
            return
        if not process.machine.is_draining:
            process.drain()
            self._status(uid, conditions=[self._ready(is_ready=False)])
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await process.drained.wait()
        except TimeoutError:
            pass

    def _exited(self, process: SimPod) -> None:
        uid = process.plan.uid
        if uid in self.lost_nodes:
            return
        if self.restarts_in_place:
            asyncio.get_running_loop().call_later(1.0, self.restart_in_place, uid)
            return
        code = process.exit_code
        ended = {"name": keys.AGENT_CONTAINER, "state": {"terminated": {"exitCode": code}}}
        phase = "Succeeded" if code == 0 else "Failed"
        self._status(uid, phase=phase, conditions=[self._ready(is_ready=False)], containerStatuses=[ended])

    # What a test does to pods

    def crash(self, uid: str, exit_code: int = 137) -> None:
        """The process ends by itself."""
        process = self.processes.get(uid)
        if process is not None:
            process.kill(exit_code)

    def restart_in_place(self, uid: str) -> None:
        """Its container starts again under the same pod, which restartPolicy Never should rule out."""
        pod, old = self.find(uid), self.processes[uid]
        if pod is None:
            return
        old.on_exit = lambda: None
        old.kill()
        self._start(pod, int(old.boot.rpartition("-")[2]) + 1, pod["status"]["podIP"])

    def vanish(self, uid: str) -> None:
        """The pod is deleted by force: its object and its process are gone at once."""
        self._remove(uid)

    def evict(self, uid: str) -> None:
        """A node is drained: the API server marks the pod and deletes it."""
        pod = self.find(uid)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        meta = pod["metadata"]
        target = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": stamp(self._server.now())}
        self._status(uid, conditions=[*pod["status"].get("conditions", []), target])
        self._server.delete("pods", meta["namespace"], meta["name"], meta["uid"], None)

    def cut(self, uid: str, *, is_cut: bool = True) -> None:
        """The pod cannot be reached by anybody but its kubelet."""
        process = self.processes.get(uid)
        if process is not None:
            process.is_reachable = not is_cut
            process.reachable_since = asyncio.get_running_loop().time()

    def lose_node(self, uid: str) -> None:
        """The node's network is gone: the process goes on, nobody hears of it, its object does not go."""
        self.lost_nodes.add(uid)
        self.cut(uid)
        self.spawn(self._control_node(uid))

    def burn_node(self, uid: str) -> None:
        """The node loses its power: the process is gone, nobody hears of it, and its address is free."""
        self.lose_node(uid)
        self.crash(uid)

    async def _control_node(self, uid: str) -> None:
        await asyncio.sleep(self.node_controller_seconds)
        if uid in self.lost_nodes:
            self._status(uid, conditions=[self._ready(is_ready=False)])

    def find_node(self, uid: str) -> None:
        """The node is back: its kubelet does what it missed."""
        self.lost_nodes.discard(uid)
        pod, process = self.find(uid), self.processes.get(uid)
        if pod is None:
            if process is not None:
                process.kill()
            return
        self.cut(uid, is_cut=False)
        if "deletionTimestamp" in pod["metadata"]:
            self.spawn(self._terminate(uid))
        elif process is not None and process.is_alive:
            self._status(uid, conditions=[self._ready(is_ready=True)])
        elif process is not None:
            self._exited(process)

    def see_restored(self) -> None:
        """Etcd was put back: pods that it forgot end, pods that it remembers are told of or begin again."""
        for uid, process in list(self.processes.items()):
            if self.find(uid) is None and uid not in self.lost_nodes:
                process.on_exit = lambda: None
                process.kill()
        for pod in self._server.all("pods"):
            uid = pod["metadata"]["uid"]
            known = self.processes.get(uid)
            if uid in self.lost_nodes:
                continue
            if "deletionTimestamp" in pod["metadata"]:
                self.spawn(self._terminate(uid))
            elif known is None:
                self.spawn(self._bring_up(uid))
            elif known.is_alive:
                self._status(uid, phase="Running", podIP=self._ip_of(known), conditions=[self._ready(is_ready=True)])
            elif pod["status"]["phase"] not in {"Succeeded", "Failed"}:
                self._exited(known)

    def _ip_of(self, process: SimPod) -> str:
        return next(ip for ip, each in self.by_ip.items() if each is process)

    def stop(self) -> None:
        """The simulation is over."""
        self.restarts_in_place = False
        for process in list(self.processes.values()):
            process.on_exit = lambda: None
            process.kill()
        for task in self._tasks:
            task.cancel()
        self.journal.close()

    # Inside

    def find(self, uid: str) -> Json | None:
        """The pod's object."""
        objects = self._server.objects
        return next(
            (each for key, each in objects.items() if key[0] == "pods" and each["metadata"]["uid"] == uid), None
        )

    def _status(self, uid: str, **status: Any) -> None:
        pod = self.find(uid)
        if pod is not None:
            meta = pod["metadata"]
            self._server.patch("pods", meta["namespace"], meta["name"], {"status": status}, None)

    def _remove(self, uid: str) -> None:
        pod = self.find(uid)
        if pod is not None:
            self._server.remove("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _ready(self, *, is_ready: bool) -> Json:
        at = stamp(self._server.now())
        return {"type": "Ready", "status": "True" if is_ready else "False", "lastTransitionTime": at}


def any_live(rng: random.Random, kubelet: SimKubelet) -> str | None:
    """Uid of some pod whose process runs."""
    live = sorted(uid for uid, process in kubelet.processes.items() if process.is_alive and kubelet.find(uid))
    return rng.choice(live) if live else None


def _capacity(pod: Json) -> int:
    environment = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0].get("env", [])}
    return int(environment.get("PINFLEET_RUNS_PER_POD") or 5)
