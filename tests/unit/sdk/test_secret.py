"""Secrets: steps and tools get them, and nothing of ours writes them down."""

import copy
import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pinfleet as sdk
from pinfleet import cli, values
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.logs import JsonLines
from pinfleet.secret import HIDDEN, scrubbed
from pinfleet.testing import Fleet, RunFailed

WORD = 'sesame "open" 4711'
CARD = sdk.Secret(WORD)


def key() -> bytes:
    """Return the author's key."""
    return b"key"


def paying(tool: Any = None, **options: Any) -> sdk.Agent:
    """Return an agent that pays with a card, whose number is a secret."""
    agent = sdk.Agent("pays", secret_key=key)

    async def works(call: sdk.Call, card: sdk.Secret[str], cents: int) -> str:
        assert card.reveal() == WORD
        return f"paid {cents}"

    pay = agent.tool(**options)(tool or works)

    @agent.main
    async def main(ctx: sdk.Ctx) -> str:
        return str(await pay(sdk.Secret(WORD), 5))

    return agent


def stored(tmp_path: Path) -> bytes:
    """Return every byte of the journal."""
    return b"".join(file.read_bytes() for file in sorted(tmp_path.glob("*.db*")))


async def test_a_secret_argument_is_recorded_as_a_keyed_hash(pinfleet: Fleet, tmp_path: Path) -> None:
    """The tool gets the secret; the journal has a hash that the author's key and the run make, and no clear text."""
    run = await pinfleet.start(paying())
    other = await pinfleet.start(paying())
    assert await run.result() == "paid 5"
    journal = SqliteJournal(tmp_path / "pinfleet.db")
    (row,) = journal.load(run.uid).steps.values()
    (its,) = journal.load(other.uid).steps.values()
    journal.close()
    hashed = values.decode(row.arguments, Any, "pay")["card"]
    assert (hashed.tag, len(hashed.text)) == ("secret", 64)
    assert row.arguments != its.arguments
    assert b"sesame" not in stored(tmp_path)


async def test_the_same_secret_is_the_same_argument(pinfleet: Fleet) -> None:
    """On replay the same secret fits the record; another one is another call of the tool."""
    given = [WORD]

    def code() -> sdk.Agent:
        agent = sdk.Agent("pays", secret_key=key)

        @agent.tool
        async def pay(call: sdk.Call, card: sdk.Secret[str]) -> str:
            return "paid"

        @agent.main
        async def main(ctx: sdk.Ctx) -> str:
            paid = await pay(sdk.Secret(given[0]))
            await ctx.receive(str)
            return paid

        return agent

    run = await pinfleet.start(code())
    await run.lose_pod()
    assert run.state == "parked"
    given[0] = "another card"
    await run.lose_pod()
    with pytest.raises(RunFailed, match="with other arguments"):
        await run.result()


async def raises(call: sdk.Call, card: sdk.Secret[str], cents: int) -> str:
    """Tell the secret in an error."""
    raise ValueError(f"no such card: {card.reveal()}")


async def doubts(call: sdk.Call, card: sdk.Secret[str], cents: int) -> str:
    """Tell the secret in an error that leaves it open whether it acted."""
    raise TimeoutError(f"no answer for {card.reveal()}")


@pytest.mark.parametrize("tool", [raises, doubts])
@pytest.mark.case("INV-17")
async def test_an_error_that_tells_a_secret_is_recorded_without_it(pinfleet: Fleet, tmp_path: Path, tool: Any) -> None:
    """What a tool raised is recorded, reported and printed without the secrets that are alive."""
    run = await pinfleet.start(paying(tool))
    with pytest.raises(RunFailed) as failed:
        await run.result()
    assert HIDDEN in failed.value.message
    assert b"sesame" not in stored(tmp_path)


async def test_a_command_shows_no_secret(pinfleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspect prints what is recorded: the hash."""
    await pinfleet.start(paying(raises))
    assert cli.main(["inspect", "run-1", "--state", str(tmp_path / "pinfleet.db")]) == 0
    said = capsys.readouterr().out
    assert HIDDEN in said
    assert "sesame" not in said


@dataclass
class Account:
    """Holds a secret in a field."""

    token: sdk.Secret[str]


def leaking(how: str) -> sdk.Agent:
    """Return an agent that puts a secret where it would be written."""
    agent = sdk.Agent("leaks", secret_key=key)

    @agent.step
    async def step() -> Any:
        return {"deep": [Account(CARD)]}

    @agent.main
    async def main(ctx: sdk.Ctx) -> Any:
        match how:
            case "step":
                await step()
            case "approve":
                await ctx.approve("it", show={"card": CARD})
            case "partial":
                ctx.partial(CARD)
            case "restart":
                await ctx.restart(CARD)
        return CARD

    return agent


@pytest.mark.parametrize("how", ["step", "approve", "partial", "restart", "result"])
async def test_a_secret_is_refused_where_it_would_be_written(pinfleet: Fleet, tmp_path: Path, how: str) -> None:
    """Results, requests, partial results and states cannot hold a secret; the error says where it may be."""
    run = await pinfleet.start(leaking(how))
    with pytest.raises(RunFailed, match="a Secret is written nowhere; it may be an argument"):
        await run.result()
    assert b"sesame" not in stored(tmp_path)


async def test_a_secret_argument_needs_a_key(pinfleet: Fleet) -> None:
    """Without the author's key a secret argument is refused: who reads the journal could try words."""
    agent = paying()
    agent.secret_key = None
    run = await pinfleet.start(agent)
    with pytest.raises(RunFailed, match=r"tool 'works' is given a Secret, which needs Agent\(secret_key=...\)"):
        await run.result()


def test_what_a_person_sees_is_checked_at_import() -> None:
    """A tool that would show a secret to a person is refused when it is declared."""
    with pytest.raises(sdk.BadDeclaration, match=r"show=\['card'\] would show a Secret"):
        paying(approve=lambda cents: cents > 1, show=("card",))


def test_a_run_is_given_no_secret() -> None:
    """A main that declares a secret as its input is refused: the run object would hold it."""
    agent = sdk.Agent("given")

    @agent.main
    async def main(ctx: sdk.Ctx, token: sdk.Secret[str]) -> None: ...

    with pytest.raises(sdk.BadDeclaration, match=r"given: input: .*Secret\[str\] has no JSON Schema"):
        _ = agent.manifest


def test_nothing_of_a_secret_is_printed() -> None:
    """A secret shows itself to nobody: not printed, not formatted, not pickled, not copied."""
    assert (repr(CARD), str(CARD), f"{CARD}") == ("Secret(...)",) * 3
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            act(CARD)
    assert (sdk.Secret("a"), hash(sdk.Secret("a"))) == (sdk.Secret("a"), hash("a"))


def test_log_lines_hold_no_secret() -> None:
    """A pod's log line is searched for the secrets that are alive, in its text, its values and its traceback."""
    err = ValueError(WORD)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "paid with %s", (WORD,), (ValueError, err, None))
    record.value = WORD
    line = JsonLines().format(record)
    assert line.count(HIDDEN) == 3
    assert "sesame" not in line


def test_a_log_line_stays_json() -> None:
    """A secret that also stands outside of texts takes nothing of the line's structure along."""
    pin = sdk.Secret("731145")
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "code 731145", (), None)
    record.number = 731145
    line = json.loads(JsonLines().format(record))
    assert (line["event"], line["number"], pin.reveal()) == (f"code {HIDDEN}", 731145, "731145")


@pytest.mark.parametrize(
    "leaked",
    [
        WORD,
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "a" * 36,
        "xoxb-" + "1" * 12,
        "sk-" + "proj-abcdefghijklmnopqrst",
        "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
@pytest.mark.parametrize("how", ["result", "error", "partial"])
@pytest.mark.case("runs: a result that looks like a secret")
async def test_what_a_run_shows_holds_no_secret(
    pinfleet: Fleet, caplog: pytest.LogCaptureFixture, leaked: str, how: str
) -> None:
    """A result, an error and a partial result are shown without what is a secret here, or looks like a credential."""
    agent = sdk.Agent("leaks")
    alive = sdk.Secret(WORD)

    @agent.step
    async def step() -> None: ...

    @agent.main
    async def main(ctx: sdk.Ctx) -> dict[str, Any]:
        said = {"said": ["the key is", leaked, 4711]}
        if how == "error":
            raise ValueError(f"the key is {leaked}")
        ctx.partial(said)
        await step()
        return said

    run = await pinfleet.start(agent, max_steps=0 if how == "partial" else 9)
    shown = run.outcome.error.message if run.outcome.error else json.loads(bytes(run.outcome.result))["said"]
    assert shown == (f"the key is {HIDDEN}" if how == "error" else ["the key is", HIDDEN, 4711])
    assert how == "error" or any("held a secret" in record.message for record in caplog.records)
    assert alive.reveal() == WORD


def test_a_secret_that_is_gone_is_searched_for_no_more() -> None:
    """A secret is known for as long as somebody holds it; short ones stand in any text and are left."""
    short, long = sdk.Secret("abcde"), sdk.Secret({"token": ["abcdef", 123456]})
    assert scrubbed("abcde abcdef 123456") == f"abcde {HIDDEN} {HIDDEN}"
    del long
    assert scrubbed("abcdef") == "abcdef"
    assert short.reveal() == "abcde"
