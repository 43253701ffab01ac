"""The provisioner of profile `node`: `python -m localcluster.node.provisioner STATE`, started by the supervisor.

The stand-in kubelet has it within itself; here it is a process of its own beside the real one.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

from localcluster.kubelet.api import Api
from localcluster.kubelet.claims import Provisioner
from localcluster.layout import Layout

_FOR_ALL = 0o777  # containers write as users of their own


async def _main(layout: Layout) -> None:
    """Serve until SIGTERM or SIGINT."""
    facts = layout.read_facts()
    if facts is None:
        raise SystemExit(f"there are no facts in {layout.root}: this process is started by the supervisor")
    api = Api(facts.server, layout.pki, "provisioner")
    serving = asyncio.create_task(Provisioner(api, layout.claims, _FOR_ALL).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        await api.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_main(Layout(Path(sys.argv[1]))))
