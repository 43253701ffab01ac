"""Plays the scenario in a namespace of its own, with an operator of its own behind relays, under one fault plan."""

import asyncio
import json
import re
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from hack.stage import Stage
from pinfleet.wire import POD_HEADER
from tests.faults import calls
from tests.faults.admin import CORE, CUSTOM, Admin, Waited, wait_for
from tests.faults.calls import Call, Json
from tests.faults.harm import RETRY_AFTER_SECONDS
from tests.faults.operator import Operator, allow_lease, ca_of, token
from tests.faults.outage import outages
from tests.faults.plans import Plan
from tests.faults.reference import Reference
from tests.faults.relay import Cut, Relay
from tests.faults.scenario import FLEET, EndState, Story
from tests.faults.script import Script
from tests.integration.history import check
from tests.integration.recorder import UNSEEN, Recorder

QUIET_SECONDS: Final = 5.0
NOISY_SECONDS: Final = 40.0  # writes that go on for so long after the end state go on for ever
SETTLE_SECONDS: Final = 100.0
PASS_SECONDS: Final = 40.0
AFTER_PASS_SECONDS: Final = 1.0


@dataclass
class Played:
    """What came of a plan."""

    plan: Plan | None
    namespace: str
    has_met: bool = False  # the call that the fault was for came
    alive: EndState | None = None  # before the fleet was deleted
    dead: EndState | None = None  # after it
    faults: list[str] = field(default_factory=list)  # what is not as it should be, in words
    calls: list[Call] = field(default_factory=list)  # of the operator, in order
    seconds: float = 0.0
    starts: int = 0  # of the operator

    @property
    def verdict(self) -> str:
        """In a word."""
        return "broken" if self.faults else "ok" if self.has_met or self.plan is None else "not met"


class Theatre:
    """A cluster on which plans are played, several at once."""

    def __init__(self, stage: Stage, recorder: Recorder, admin: Admin) -> None:
        self.stage, self.recorder, self.admin = stage, recorder, admin

    async def play(
        self, namespace: str, plan: Plan | None, reference: Reference | None, *, dies: bool = True, rules_off: str = ""
    ) -> Played:
        """The scenario under a plan, or undisturbed; compares its ends with the expected ones.

        Args:
            namespace: that is made for it, and stays.
            plan: None: nothing happens.
            reference: how it ends undisturbed; None: whatever comes is right.
            dies: whether the fleet is deleted at the end.
            rules_off: rules of the run protocol that the operator goes without.
        """
        played, began = Played(plan, namespace), time.monotonic()
        expected = reference.under(plan) if reference else None
        folder = self.stage.state / namespace
        folder.mkdir()
        async with self._scene(namespace, plan, folder, rules_off) as scene:
            try:
                await scene.story.live()
                played.alive = await self._rest(scene, expected.alive if expected else None, played)
                if dies:
                    await scene.story.die()
                    played.dead = await self._rest(scene, expected.dead if expected else None, played)
            except Waited as err:
                played.faults.append(f"{err}; it stands at {await scene.story.state()}")
            played.calls = [each.call for each in scene.script.seen]
            played.has_met, played.starts = scene.script.fired_at is not None, scene.operator.starts
            played.faults += _impolite(scene.script)
        recording = await asyncio.to_thread(self.recorder.of, namespace, folder / "trace")
        recording.has_faults = plan is not None
        if plan is not None and plan.is_alone:  # a killed API server shows nobody its last changes; they were listed
            recording.gaps = [gap for gap in recording.gaps if UNSEEN not in gap]
        played.faults += check(recording) + scene.operator.complaints()
        (folder / "calls").write_text(scene.script.told())
        if not played.faults:
            await self._clear(namespace, folder, keeps_pods=not dies)
        played.seconds = time.monotonic() - began
        return played

    @asynccontextmanager
    async def _scene(self, namespace: str, plan: Plan | None, folder: Path, rules_off: str) -> AsyncIterator["Scene"]:
        operator = Operator(folder, namespace, self.stage.key_file(), rules_off=rules_off)
        async with relays(self.stage, plan, operator) as (script, api_port, pod_port):
            story = Story(self.admin, namespace, folder, folder / "trace", pod_port)
            await story.prepare()
            await allow_lease(self.admin, namespace)
            tokens = [await token(self.admin), await token(self.admin)]
            server = f"https://127.0.0.1:{api_port}"
            operator.set_token(server, ca_of(self.stage.cluster), tokens[0])
            script.expire_token = lambda: operator.set_token(server, ca_of(self.stage.cluster), tokens[1])
            async with outages(self.stage.cluster) as script.end_server:
                operator.start()
                try:
                    yield Scene(story, script, operator)
                finally:
                    await operator.stop()

    async def _rest(self, scene: "Scene", expected: EndState | None, played: Played) -> EndState:
        """Until the end state is there, nothing is written for a while, and a pass plans nothing; the state then."""
        if expected is not None:

            async def is_there() -> bool:
                return await scene.story.state() == expected

            try:
                await wait_for("the end state", is_there, SETTLE_SECONDS)
            except Waited:
                played.faults += expected.differences(await scene.story.state())
        await self._quiet(scene, played)
        found = await scene.story.state()
        if expected is not None and not played.faults:
            played.faults += expected.differences(found)
        return found

    async def _quiet(self, scene: "Scene", played: Played) -> None:
        """Nothing is written for a while, nor by the pass after it; anew if the operator loses its Lease meanwhile.

        Whoever took the place of a killed one waits for its Lease first: that silence says nothing.
        """
        while True:
            starts, found = scene.operator.starts, await self._noise(scene)
            if starts == scene.operator.starts:
                played.faults += found
                return

    async def _noise(self, scene: "Scene") -> list[str]:
        script = scene.script

        async def leads() -> bool:
            return script.leads_since(scene.operator.started_at)

        await wait_for("an operator that leads", leads, SETTLE_SECONDS)
        began = time.monotonic()
        while time.monotonic() - max(script.last_write_at(), began) < QUIET_SECONDS:
            if time.monotonic() - began > NOISY_SECONDS:
                return [f"INV-8: writes go on: {script.writes_since(time.monotonic() - QUIET_SECONDS)}"]
            await asyncio.sleep(0.1)
        touched = time.monotonic()
        await scene.story.touch()
        if (await scene.story.state()).active is not None:
            look = Call("get", "agentdeployments", FLEET)

            async def has_passed() -> bool:
                return script.has_seen(look, touched)

            await wait_for("a pass over the fleet", has_passed, PASS_SECONDS)
        await asyncio.sleep(AFTER_PASS_SECONDS)
        written = script.writes_since(touched)
        return [f"INV-8: the next pass wrote {written}"] if written else []

    async def _clear(self, namespace: str, folder: Path, *, keeps_pods: bool) -> None:
        """Drop what costs the next plans time: the journal, and the folder."""
        if not keeps_pods:
            await self.admin.ask("DELETE", f"{CORE}/{namespace}/persistentvolumeclaims/state")
            shutil.rmtree(folder, ignore_errors=True)

    async def left(self, namespace: str) -> list[Json]:
        """Every object that the operator could have something to do with."""
        found = []
        for path in (f"{CORE}/{namespace}/pods", *(f"{CUSTOM}/{namespace}/{each}" for each in
                     ("agentdeployments", "agentversions", "agentruns"))):  # fmt: skip
            found += await self.admin.list(path)
        return found


@dataclass(frozen=True)
class Scene:
    """One play's parts."""

    story: Story
    script: Script
    operator: Operator


@asynccontextmanager
async def relays(stage: Stage, plan: Plan | None, operator: Operator) -> AsyncIterator[tuple[Script, int, int]]:
    """The script, and the ports of the relays: to the API server, and to the pods."""
    script, pods = Script(plan, kill=operator.kill), Pods()
    pki = stage.cluster.layout.pki
    api = Relay(
        name=lambda request, body: calls.of_api(request.method, request.path, request.query, body),
        target=lambda _: stage.cluster.server,
        serve=script.serve,
        stream=script.stream,
        rewrite=pods.rewrite,
        trusts=ssl.create_default_context(cafile=str(pki / "ca.crt")),
    )
    to_pods = Relay(name=pods.name, target=pods.target, serve=script.serve, stream=script.stream)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    try:
        pods.port = await to_pods.start("127.0.0.1", free_port())
        yield script, await api.start("127.0.0.1", 0, tls=tls), pods.port
    finally:
        await api.stop()
        await to_pods.stop()


class Pods:
    """Puts the relay in the pods' place: the operator is told that they all live at the relay's address."""

    ADDRESS: Final = re.compile(r'"(podIP|ip)":"(127\.[0-9.]+)"')

    def __init__(self) -> None:
        self.port = 0
        self._addresses: dict[str, str] = {}  # by pod uid
        self._runs: dict[str, str] = {}  # names by uid

    def rewrite(self, call: Call, body: bytes) -> bytes:
        """A body of the API server, with the pods' addresses taken out and remembered."""
        if call.resource != "pods" or not body.strip():
            return body
        found: Json = json.loads(body)
        objects = found.get("items") or [found.get("object", found)]
        for each in objects:
            status = each.get("status", {})
            if isinstance(status, dict) and status.get("podIP"):
                self._addresses[each["metadata"]["uid"]] = status["podIP"]
                status["podIP"] = "127.0.0.1"
                status["podIPs"] = [{"ip": "127.0.0.1"}]
        return json.dumps(found).encode() + (b"\n" if body.endswith(b"\n") else b"")

    def name(self, request: web.BaseRequest, body: bytes) -> Call:
        """What a request to a pod is; an offer says the run's name."""
        if request.method == "PUT":
            self._runs[request.path.rpartition("/")[2]] = json.loads(body)["name"]
        return calls.of_pod(request.method, request.path, self._runs)

    def target(self, request: web.BaseRequest) -> str:
        """Where the pod really is that a request names."""
        address = self._addresses.get(request.headers.get(POD_HEADER, ""))
        if address is None:
            raise Cut
        return f"http://{address}:{self.port}"


def free_port() -> int:
    """A port that nobody listens on now, at any address of this machine."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104 - bound, and closed again
        port: int = probe.getsockname()[1]
        return port


def _impolite(script: Script) -> list[str]:
    """A write that was sent again before the time that its 429 asked for."""
    plan, fired = script.plan, script.fired_at
    if plan is None or fired is None or plan.fault != "throttled" or plan.call.resource == "leases":
        return []  # who waits with its Lease loses it
    again = [each.at - fired for each in script.seen if each.call == plan.call and each.at > fired]
    if again and again[0] < RETRY_AFTER_SECONDS:
        return [f"{plan.call} came again after {again[0]:.1f} s, Retry-After asked for {RETRY_AFTER_SECONDS}"]
    return []
