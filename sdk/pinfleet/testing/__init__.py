"""What authors test their agents with: a pytest fixture, people and models by script, and a kill at every commit.

The plugin gives the fixture ``pinfleet`` (SQLite, a clock that only the test moves, no network)::

    async def test_refund(pinfleet):
        run = await pinfleet.start(agent, Ask("o-1"))
        await run.advance(days=3)
        await run.send(Reply(cents=9_900))
        await run.approve(by="ann")
        await run.result()
        assert run.sent("refund") == 1

    test_kill = kill_everywhere(agent, Ask("o-1"), script=happy_path)
"""

from pinfleet.testing.fleet import Fleet as Fleet
from pinfleet.testing.kill import kill_everywhere as kill_everywhere
from pinfleet.testing.model import ScriptedModel as ScriptedModel
from pinfleet.testing.run import Run as Run
from pinfleet.testing.run import RunFailed as RunFailed
