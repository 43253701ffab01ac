"""`make demo`: the story of one upgrade on a real Kubernetes; it exits with 0 only if every claim held.

What ran is judged by a trace that the agents write outside of their journals. `--unsafe-off fence|replay` takes a rule
out of the agents, and the same story must then end with another exit code.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hack.stage import ROOT, Json, Stage, StageError
from tests.integration.history import check
from tests.integration.recorder import Recorder, recording_of

STATE = ROOT / ".demo"
EXAMPLES = ROOT / "examples"
QUICK = {"PINFLEET_PARK_AFTER_SECONDS": "2", "PINFLEET_UNREACHABLE_SECONDS": "15"}
KILL_AT = 37
STEPS = 50


class Story:
    """Tells, checks and counts."""

    def __init__(self, stage: Stage, unsafe_off: str) -> None:
        self.stage, self.unsafe_off = stage, unsafe_off
        self.trace_file = stage.state / "trace.jsonl"
        self.began = time.monotonic()
        self.held, self.broken = 0, list[str]()

    # Telling

    def say(self, text: str) -> None:
        """One line of the story."""
        print(f"[{time.monotonic() - self.began:5.1f} s] {text}", flush=True)

    def show(self, *arguments: str) -> None:
        """Run kubectl and show its output."""
        print(f"  $ kubectl {' '.join(arguments)}")
        for line in self.stage.kubectl(*arguments).rstrip().splitlines():
            print(f"    {line}")
        sys.stdout.flush()

    def claim(self, text: str, *, holds: bool, found: object = "") -> None:
        """Count a claim, and say whether it held."""
        if holds:
            self.held += 1
            print(f"  ok      {text}", flush=True)
        else:
            self.broken.append(text)
            print(f"  BROKEN  {text} (found: {found})", flush=True)

    # Acting

    def apply_fleet(self, file: str) -> None:
        """Apply an example fleet, with the trace's place in the agent's environment."""
        for manifest in yaml.safe_load_all((EXAMPLES / file).read_text()):
            if manifest["kind"] == "AgentDeployment":
                container = manifest["spec"]["template"]["spec"]["containers"][0]
                extra = {"QUICKSTART_TRACE": str(self.trace_file), "SUPPORT_TRACE": str(self.trace_file)}
                if self.unsafe_off:  # not by the template's env: the operator keeps that prefix for itself
                    container["command"] = ["env", f"PINFLEET_UNSAFE_OFF={self.unsafe_off}", *container["command"]]
                container.setdefault("env", []).extend({"name": k, "value": v} for k, v in extra.items())
            self.stage.apply(manifest, "default")

    def start(self, fleet: str, name: str, given: Json) -> None:
        """Create a run."""
        manifest = {
            "apiVersion": "pinfleet.dev/v1alpha1",
            "kind": "AgentRun",
            "metadata": {"name": name},
            "spec": {"task": {"agentDeployment": fleet, "input": given}},
        }
        self.stage.kubectl("create", "-f", "-", given=json.dumps(manifest))

    # Reading

    def run(self, name: str) -> Json:
        """A run's status."""
        status: Json = self.stage.get("agentrun", name).get("status", {})
        return status

    def fleet(self, name: str = "quickstart") -> Json:
        """A fleet's status."""
        status: Json = self.stage.get("agentdeployment", name).get("status", {})
        return status

    def wait_active(self, version: str, fleet: str = "quickstart") -> None:
        """Until new runs go to the version."""
        self.stage.wait_for(f"{fleet} on {version}", lambda: self.fleet(fleet).get("activeVersion") == version, 40)

    def wait_phase(self, name: str, phase: str, seconds: float = 60) -> Json:
        """Until a run has the phase."""
        ends = {"Succeeded", "Failed", "Cancelled", "TimedOut"}
        self.stage.wait_for(f"{name} {phase}", lambda: self.run(name).get("phase") in {phase, *ends}, seconds)
        return self.run(name)

    def trace(self, run: str | None = None) -> list[Json]:
        """What began to run, in order."""
        if not self.trace_file.exists():
            return []
        lines: list[Json] = [json.loads(line) for line in self.trace_file.read_text().splitlines()]
        return [line for line in lines if run is None or line["run"] == run]

    def pod_steps(self, run: str) -> Callable[[], int]:
        """How to ask the run's pod by `GET /state`, with the version's own token, for the steps that it committed."""
        pod = self.stage.get("pod", self.run(run)["pod"])
        labels = pod["metadata"]["labels"]
        selector = ",".join(f"{key}={labels[key]}" for key in ("pinfleet.dev/fleet", "pinfleet.dev/version"))
        secret = self.stage.list("secrets", "default", "-l", selector)[0]
        uid = self.stage.get("agentrun", run)["metadata"]["uid"]
        request = urllib.request.Request(
            f"http://{pod['status']['podIP']}:8080/state?after=0&boot=&wait=0",
            headers={
                "Authorization": f"Bearer {b64decode(secret['data']['token']).decode()}",
                "Pinfleet-Pod": pod["metadata"]["uid"],
            },
        )

        def ask() -> int:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
                return next((int(each["steps"]) for each in json.load(answer)["runs"] if each["uid"] == uid), 0)

        return ask

    @contextmanager
    def frozen(self, pid: int) -> Iterator[None]:
        """A process that stands still for the length of a block, if it lives to its end."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill_at(self, run: str, *, inside: bool) -> Json:
        """SIGKILL the run's agent once 37 steps are committed: before the 38th begins, or while it runs."""
        before = self.run(run)
        pid, steps = self.stage.pod_pid(before["podUID"]), self.pod_steps(run)

        def is_there() -> bool:
            committed = steps()
            if committed > KILL_AT:
                raise StageError(f"{run} was past step {KILL_AT} before it could be killed: run the demo again")
            return committed == KILL_AT

        while True:
            self.stage.wait_for(f"{run} at step {KILL_AT}", is_there, 60)
            with self.frozen(pid):
                began = max(line["step"] for line in self.trace(run))
                if began == (KILL_AT + 1 if inside else KILL_AT):
                    os.kill(pid, signal.SIGKILL)
                    return before


def act_upgrade(story: Story) -> None:
    """Pin, switch, two kills, drain, retire."""
    stage = story.stage
    story.say("v1 is deployed: a research agent of 50 steps")
    story.apply_fleet("quickstart/fleet-v1.yaml")
    story.wait_active("v1")
    story.show("get", "agentdeployments")
    names = ["research-a", "research-b", "research-c", "research-d"]
    story.say("four runs start on v1; v2 is applied while they are in flight")
    for pair in (names[:2], names[2:]):
        for name in pair:
            story.start("quickstart", name, {"topic": name})
        stage.wait_for("step 5", lambda: all(any(t["step"] >= 5 for t in story.trace(n)) for n in pair), 30)  # noqa: B023
    story.apply_fleet("quickstart/fleet-v2.yaml")
    story.wait_active("v2")
    story.start("quickstart", "research-new", {"topic": "new"})
    new = story.wait_phase("research-new", "Running")
    story.show("get", "agentruns")
    story.claim("a run created after the switch is on v2, at once", holds=new.get("version") == "v2", found=new)
    running = {n: story.run(n) for n in names}
    story.claim(
        "the four in flight are still on v1", holds=all(r["version"] == "v1" for r in running.values()), found=running
    )
    victims = pick_victims(running)
    before: dict[str, Json] = {}
    for name, inside in victims:
        where = f"inside step {KILL_AT + 1}" if inside else f"between steps {KILL_AT} and {KILL_AT + 1}"
        before[name] = story.kill_at(name, inside=inside)
        story.say(f"{name}: its agent's process is killed by SIGKILL {where}, on pod {before[name]['pod']}")
    for name, _ in victims:
        check_resumed(story, name, before[name])
    act_retire(story, names, victims)


def pick_victims(running: dict[str, Json]) -> list[tuple[str, bool]]:
    """Two runs on two pods: one dies between steps, the other inside one."""
    first = next(iter(running))
    other = next(name for name, run in running.items() if run["podUID"] != running[first]["podUID"])
    return [(first, False), (other, True)]


def check_resumed(story: Story, name: str, before: Json) -> None:
    """The run goes on at step 38, on another pod of v1."""
    story.stage.wait_for(f"{name} to go on", lambda: any(t["epoch"] > before["epoch"] for t in story.trace(name)), 60)
    after, next_step = story.run(name), next(t for t in story.trace(name) if t["epoch"] > before["epoch"])["step"]
    story.claim(f"{name} goes on at step {KILL_AT + 1}", holds=next_step == KILL_AT + 1, found=next_step)
    moved = after["podUID"] != before["podUID"] and after["version"] == "v1"
    story.claim(f"{name} is on another pod of v1: {after.get('pod')}", holds=moved, found=after)


def act_retire(story: Story, names: list[str], victims: list[tuple[str, bool]]) -> None:
    """The last v1 run ends, and v1's pods go away by themselves."""
    stage = story.stage
    story.say("v1's runs go on to their ends")
    results = {name: story.wait_phase(name, "Succeeded", 120) for name in names}
    story.show("get", "agentruns")
    answers = {name: run.get("result", {}).get("version") for name, run in results.items()}
    story.claim("each result carries v1's own constant", holds=set(answers.values()) == {"v1"}, found=answers)
    new = story.wait_phase("research-new", "Succeeded", 60)
    story.claim("the new run's result carries v2's", holds=new.get("result", {}).get("version") == "v2", found=new)
    for name in names:
        counts = Counter(line["step"] for line in story.trace(name))
        again = {step: n for step, n in counts.items() if n > 1}
        may = {KILL_AT + 1} if (name, True) in victims else set()
        moved = len({line["epoch"] for line in story.trace(name)}) > 1
        if moved and name not in dict(victims):
            may = {max(line["step"] for line in story.trace(name) if line["epoch"] == 1)}
        story.claim(f"{name}: no recorded step ran again", holds=set(again) <= may, found=again)
        is_whole = set(counts) == set(range(1, STEPS + 1))
        story.claim(f"{name}: all {STEPS} steps ran", holds=is_whole, found=sorted(counts))
    selector = "pinfleet.dev/fleet=quickstart,pinfleet.dev/version=v1"
    stage.wait_for("v1's pods to go away", lambda: not stage.list("pods", "default", "-l", selector), 60)
    story.say("v1's last run has ended; its pods went away by themselves")
    story.show("get", "agentversions")
    story.show("get", "pods")
    phase = next((v["phase"] for v in story.fleet()["versions"] if v["name"] == "v1"), None)
    story.claim("v1 is retired, its record stays", holds=phase == "Retired", found=phase)


def act_lost_node(story: Story) -> None:
    """A node hangs, its pod is force-deleted, its process lives on: the fence refuses what it commits."""
    stage = story.stage
    story.start("quickstart", "research-z", {"topic": "z"})
    stage.wait_for("research-z at step 5", lambda: any(t["step"] >= 5 for t in story.trace("research-z")), 30)
    before = story.run("research-z")
    story.say(f"the kubelet hangs and pod {before['pod']} is force-deleted: its process lives on and knows nothing")
    kubelet = int(json.loads(stage.cluster.layout.identity("kubelet").read_text())["pid"])
    with story.frozen(kubelet):
        stage.kubectl("delete", "pod", before["pod"], "--grace-period=0", "--force")
        stage.wait_for("another pod", lambda: story.run("research-z")["epoch"] > before["epoch"], 30)
        stage.wait_for("its steps", lambda: any(t["epoch"] > before["epoch"] for t in story.trace("research-z")), 30)
        last = story.wait_phase("research-z", "Succeeded", 60)
    trace = story.trace("research-z")
    old, new = ([t["step"] for t in trace if (t["epoch"] == before["epoch"]) is is_old] for is_old in (True, False))
    taken_over = next(i for i, t in enumerate(trace) if t["epoch"] > before["epoch"])
    stale = [t["step"] for t in trace[taken_over:] if t["epoch"] == before["epoch"]]
    story.claim(
        "the old process began at most one step after the new one had the run", holds=len(stale) <= 1, found=stale
    )
    again = {step: n for step, n in Counter(old + new).items() if n > 1}
    in_flight = {old[-1]: 2} if old[-1] == new[0] else {}
    story.claim("no step ran again but the one in flight on both sides", holds=again == in_flight, found=again)
    is_whole = sorted({*old, *new}) == list(range(1, STEPS + 1)) and new[-1] == STEPS
    story.claim("the new process did all that was left", holds=is_whole, found=(old, new))
    story.claim("one result, of v2", holds=last.get("result", {}).get("version") == "v2", found=last)


def act_park(story: Story) -> None:
    """A run waits without a pod, another has its slot, its pod dies, and it wakes elsewhere."""
    stage = story.stage
    story.say("the support agent waits between two steps: it parks, and its slot is free")
    story.apply_fleet("support/fleet.yaml")
    story.wait_active("v1", "support")
    story.start("support", "ask-1", {"order": "o-1", "wait_seconds": 12})
    parked = story.wait_phase("ask-1", "Parked")
    first = story.trace("ask-1")[0]["pod"]
    story.show("get", "agentruns", "ask-1")
    story.claim("no pod is held", holds="pod" not in parked and parked.get("phase") == "Parked", found=parked)
    story.claim("it says what it waits for", holds=bool(parked.get("waitingFor")), found=parked)
    story.start("support", "ask-2", {"order": "o-2", "wait_seconds": 0})
    story.wait_phase("ask-2", "Succeeded")
    guest = story.trace("ask-2")[0]["pod"]
    story.claim("meanwhile another run used its slot", holds=guest == first, found=(guest, first))
    still = story.run("ask-1")["phase"]
    os.kill(stage.pod_pid(first), signal.SIGKILL)
    story.say("its former pod is killed before the timer is due")
    story.claim("it was still parked then", holds=still == "Parked", found=still)
    last = story.wait_phase("ask-1", "Succeeded")
    story.show("get", "agentruns", "ask-1")
    story.claim("it woke and ended", holds=last.get("phase") == "Succeeded", found=last)
    pods = [line["pod"] for line in story.trace("ask-1")]
    story.claim("on another pod", holds=pods[-1] != first, found=pods)
    steps = [line["step"] for line in story.trace("ask-1")]
    story.claim("each of its steps ran once", holds=len(steps) == len(set(steps)), found=steps)


def check_history(story: Story, recorder: Recorder) -> None:
    """What the API server, the audit log and the journals showed from the first object on."""
    found = check(recorder.of("default", story.trace_file))
    story.claim("the whole history keeps the invariants", holds=found == [], found="; ".join(found))


def tell(stage: Stage, unsafe_off: str) -> int:
    """The whole story; returns the exit code."""
    story = Story(stage, unsafe_off)
    story.say("a real Kubernetes comes up: etcd, API server, controllers, scheduler, and a stand-in kubelet")
    stage.up()
    with recording_of(stage.cluster) as recorder:
        stage.start_operator(**QUICK)
        for act in (act_upgrade, act_lost_node, act_park):
            act(story)
        check_history(story, recorder)
    if story.broken:
        print(f"\n{len(story.broken)} claims did not hold, {story.held} did:")
        print("\n".join(f"  {text}" for text in story.broken))
        return 1
    print(f"\nall {story.held} claims held, in {time.monotonic() - story.began:.0f} s")
    return 0


def main() -> int:
    """Run the demo, or end what it left."""
    parser = argparse.ArgumentParser(description="The story of one upgrade, on a real Kubernetes.")
    parser.add_argument("--down", action="store_true", help="end what KEEP=1 left")
    parser.add_argument("--unsafe-off", default="", help="take a rule out of the agents: fence or replay")
    arguments = parser.parse_args()
    stage = Stage(STATE, EXAMPLES / "images.yaml", tell=lambda line: print(f"          {line}", flush=True))
    if arguments.down:
        stage.down()
        shutil.rmtree(STATE, ignore_errors=True)
        return 0
    keep = os.environ.get("KEEP", "") not in {"", "0"}
    code = 1
    stage.down()
    shutil.rmtree(STATE, ignore_errors=True)
    try:
        code = tell(stage, arguments.unsafe_off)
    except StageError as err:
        print(f"\nthe demo stopped: {err}\nlogs: {STATE}", file=sys.stderr)
    finally:
        if keep:
            leave_up(stage)
        else:
            stage.down()
    return code


def leave_up(stage: Stage) -> None:
    """Say how to use what is left."""
    print(
        f"\nit stays up. In a shell:\n  export KUBECONFIG={stage.cluster.kubeconfig}\n"
        f"  export PATH={stage.cluster.kubectl.parent}:$PATH\n  kubectl get agentruns\n"
        f"the operator logs to {STATE}/operator.log; `make down` ends all of it"
    )


if __name__ == "__main__":
    sys.exit(main())
