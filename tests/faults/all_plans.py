"""Plays fault plans by the hundred, several at once, and tells what came of them; `make faults` calls `main`.

- `make faults`: every plan.
- `make faults PLAN=NAME`: one, as its line in the table names it; or several, as in PLAN='throttled@*'.
- `make faults PART=2/5`: the second fifth of them.
- `make faults DONE=FILE`: those that the file does not call ok yet; verdicts go into it.
- `make faults SAMPLE=N SEED=S`: N of them, drawn by the seed.
- `make faults LANES=N`: so many at once.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from hack.stage import Stage
from tests.faults.admin import Admin, wait_for
from tests.faults.calls import Call
from tests.faults.operator import Operator, ca_of, token
from tests.faults.plans import OUTAGE, Plan, common, generate
from tests.faults.play import Played, Theatre, relays
from tests.faults.reference import Reference
from tests.integration.fleet import IMAGES
from tests.integration.recorder import recording_of

LANES: Final = 4
TRIES: Final = 3  # a write that moves with the clock, such as a count's, does not come in every run
LONG_QUIET_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 120.0
SLOW: Final = frozenset({"hung", OUTAGE})
STAYING: Final = ("kill-during", "frozen", "invalid")  # faults of the plans whose fleets stay for the long quiet


async def main(arguments: list[str]) -> int:
    """Play what was asked for; the exit code."""
    wish, lanes = os.environ.get("PLAN", ""), int(os.environ.get("LANES") or LANES)
    stage = Stage(Path(mkdtemp(prefix="pinfleet-faults-")), IMAGES, print)
    try:
        stage.up()
        with recording_of(stage.cluster) as recorder:
            async with Admin(stage.cluster) as admin:
                company = Company(Theatre(stage, recorder, admin), lanes)
                plans = choose(generate((await company.rehearse()).calls), wish)
                done = Verdicts(os.environ.get("DONE"))
                played = await company.play_all([plan for plan in plans if not done.is_ok(plan)], done)
                quiet = [] if wish else [*await company.long_quiet(plans), *await company.control()]
    finally:
        stage.down()
    print_table(played)
    for line in quiet:
        print(line)
    is_good = all(each.verdict == "ok" for each in played) and not quiet
    return 0 if is_good and played else 1


def choose(plans: list[Plan], wish: str) -> list[Plan]:
    """What the environment asks for, of all plans.

    Raises:
        SystemExit: there is no plan of that name.
    """
    if wish:
        found = [plan for plan in plans if fnmatchcase(plan.name, wish)]
        if not found:
            raise SystemExit("\n".join([f"there is no plan {wish!r}; there are:", *(plan.name for plan in plans)]))
        return found
    if sample := int(os.environ.get("SAMPLE") or 0):
        return drawn(plans, sample, os.environ.get("SEED", "0"))
    part, _, parts = os.environ.get("PART", "1/1").partition("/")
    return plans[int(part) - 1 :: int(parts)]


def drawn(plans: list[Plan], number: int, seed: str) -> list[Plan]:
    """So many plans, each of another fault, drawn by a seed; none that takes over a minute."""
    shuffled = random.Random(seed).sample(plans, len(plans))
    by_fault = {plan.fault: plan for plan in shuffled if plan.fault not in SLOW}
    return list(by_fault.values())[:number]


class Verdicts:
    """What came of plans, by name, kept in a file so that a run can be gone on with."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._found: dict[str, str] = {}
        if self._path is not None and self._path.exists():
            self._found = json.loads(self._path.read_text())

    def is_ok(self, plan: Plan) -> bool:
        """Whether it was played, and ended well."""
        return self._found.get(plan.name) == "ok"

    def note(self, played: Played) -> None:
        """Keep a verdict."""
        if played.plan is not None:
            self._found[played.plan.name] = played.verdict
        if self._path is not None:
            self._path.write_text(json.dumps(self._found, indent=1))


class Company:
    """Plays plans in lanes."""

    def __init__(self, theatre: Theatre, lanes: int) -> None:
        self._theatre, self._lanes, self._number = theatre, lanes, 0

    async def rehearse(self) -> Reference:
        """Play it undisturbed: it must end as recorded; with UPDATE_GOLDEN, what several plays have in common is."""
        is_new = bool(os.environ.get("UPDATE_GOLDEN"))
        plays = await asyncio.gather(*(self._play(None) for _ in range(TRIES if is_new else 1)))
        played = plays[0]
        if any(each.faults for each in plays) or played.alive is None or played.dead is None:
            raise SystemExit(f"the undisturbed scenario does not end as recorded: {[each.faults for each in plays]}")
        if is_new:
            Reference.of(common([each.calls for each in plays]), played.alive, played.dead).write()
        print(f"undisturbed: {played.seconds:.0f} s, {sum(call.is_write for call in played.calls)} writes", flush=True)
        return Reference.read()

    async def control(self) -> list[str]:
        """A rule taken out is seen: without rule 1, an assignment whose operator dies is never offered."""
        plan = Plan("kill-during", Call("patch", "agentruns/status", "old", "assign"), 1)
        played = await self._play(plan, rules_off="1")
        print(f"control: {plan.name} without rule 1: {played.verdict}", *played.faults[:1], flush=True)
        return [] if played.verdict == "broken" else ["the control was not flagged"]

    async def play_all(self, plans: list[Plan], verdicts: Verdicts) -> list[Played]:
        """Every plan, in lanes, and then those that must be alone; a line for each."""
        done, began = list[Played](), time.monotonic()

        async def lane(waiting: list[Plan]) -> None:
            while waiting:
                played = await self._play_until_met(waiting.pop())
                done.append(played)
                verdicts.note(played)
                at = f"[{len(done)}/{len(plans)} {time.monotonic() - began:.0f} s]"
                print(
                    at, played.verdict, played.plan.name if played.plan else "", f"{played.seconds:.0f} s", flush=True
                )
                for what in played.faults:
                    print(f"    {what}", flush=True)

        beside = [plan for plan in reversed(plans) if not plan.is_alone]
        await asyncio.gather(*(lane(beside) for _ in range(self._lanes)))
        await lane([plan for plan in reversed(plans) if plan.is_alone])
        return done

    async def _play_until_met(self, plan: Plan) -> Played:
        for _ in range(TRIES):
            played = await self._play(plan)
            if played.verdict != "not met":
                break
        return played

    async def _play(self, plan: Plan | None, *, dies: bool = True, rules_off: str = "") -> Played:
        self._number += 1
        reference = None if os.environ.get("UPDATE_GOLDEN") and plan is None else Reference.read()
        return await self._theatre.play(f"plan-{self._number}", plan, reference, dies=dies, rules_off=rules_off)

    async def _quiet_minute(self) -> list[str]:
        """What a new operator of all namespaces writes in a minute, once it has looked at everything."""
        stage, admin = self._theatre.stage, self._theatre.admin
        operator = Operator(stage.state / "quiet", None, stage.key_file())
        async with relays(stage, None, operator) as (script, api_port, _):
            operator.set_token(f"https://127.0.0.1:{api_port}", ca_of(stage.cluster), await token(admin))
            operator.start()

            async def has_settled() -> bool:
                return bool(script.seen) and time.monotonic() - script.last_change_at() > SETTLED_SECONDS

            try:
                await wait_for("the operator to settle", has_settled, SETTLE_SECONDS)
                since = time.monotonic()
                await asyncio.sleep(LONG_QUIET_SECONDS)
                return [f"INV-8: written in a quiet minute: {each}" for each in script.writes_since(since)]
            finally:
                await operator.stop()

    async def long_quiet(self, plans: list[Plan]) -> list[str]:
        """Three plans whose fleets stay, then a minute without a write over them and all that the others left."""
        staying = [next(plan for plan in plans if plan.fault == fault) for fault in STAYING if
                   any(plan.fault == fault for plan in plans)]  # fmt: skip
        stayed = await asyncio.gather(*(self._play(plan, dies=False) for plan in staying))
        found = [f"{each.namespace}: {what}" for each in stayed for what in each.faults]
        found += await self._quiet_minute()
        print(
            f"a minute of quiet over {self._number} end states, {len(stayed)} with live fleets: {found or 'no write'}"
        )
        return found


def print_table(played: list[Played]) -> None:
    """Verdicts by fault, then every plan that is not ok."""
    faults = sorted({each.plan.fault for each in played if each.plan})
    counts = Counter((each.plan.fault, each.verdict) for each in played if each.plan)
    print(f"\n{'fault':<15}{'plans':>6}{'ok':>6}{'broken':>8}{'not met':>9}")
    for fault in faults:
        ok, broken, not_met = (counts[fault, verdict] for verdict in ("ok", "broken", "not met"))
        print(f"{fault:<15}{ok + broken + not_met:>6}{ok:>6}{broken:>8}{not_met:>9}")
    print(f"{'all':<15}{len(played):>6}{sum(each.verdict == 'ok' for each in played):>6}")
    for each in played:
        if each.plan and each.verdict != "ok":
            print(f"{each.verdict}: {each.plan.name}", *each.faults, sep="\n    ")
