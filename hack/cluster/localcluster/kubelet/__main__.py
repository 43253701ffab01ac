"""The stand-in kubelet's process: `python -m localcluster.kubelet STATE`, started by the supervisor.

It ends on SIGTERM and leaves the pods' processes running, as a real kubelet does; the next one adopts them.
"""

import asyncio
import logging
import signal
import sys
from pathlib import Path

from localcluster.kubelet.addresses import Addresses
from localcluster.kubelet.api import FAILURES, Api, ApiError
from localcluster.kubelet.claims import Provisioner
from localcluster.kubelet.images import Images
from localcluster.kubelet.leftovers import end_absent, end_strangers
from localcluster.kubelet.nodes import NodeAgent
from localcluster.kubelet.objects import Objects
from localcluster.kubelet.pods import Node
from localcluster.layout import Facts, Layout

_RETRY_SECONDS = 0.2

log = logging.getLogger("kubelet")


async def _present(apis: dict[str, Api]) -> set[str]:
    """The uids of all pods bound to our nodes."""
    found = set()
    for name, api in apis.items():
        while True:
            try:
                listed = await api.call("GET", "/api/v1/pods", params={"fieldSelector": f"spec.nodeName={name}"})
            except (ApiError, *FAILURES) as err:
                log.warning("cannot list pods yet: %r", err)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                found |= {item["metadata"]["uid"] for item in listed["items"]}
                break
    return found


async def _serve(layout: Layout) -> None:
    """Run every node and the provisioner until cancelled."""
    facts = layout.read_facts()
    if facts is None:
        raise SystemExit(f"there are no facts in {layout.root}: this process is started by the supervisor")
    end_strangers(layout)
    apis = {name: Api(facts.server, layout.pki, name) for name in facts.node_names}
    provisioner = Api(facts.server, layout.pki, "provisioner")
    try:
        await _run(layout, facts, apis, provisioner)
    finally:
        for api in [provisioner, *apis.values()]:
            await api.close()


async def _run(layout: Layout, facts: Facts, apis: dict[str, Api], provisioner: Api) -> None:
    """Run with these clients."""
    end_absent(layout, await _present(apis))
    images = Images(layout.images, Path(facts.python))
    addresses = Addresses(facts.octet, layout.root / "next-address")
    agents = [
        NodeAgent(Node(name, layout, facts, api, Objects(api), images, addresses)).run() for name, api in apis.items()
    ]
    await asyncio.gather(Provisioner(provisioner, layout.claims).run(), *agents)


async def _main(layout: Layout) -> None:
    """Serve until SIGTERM or SIGINT."""
    serving = asyncio.create_task(_serve(layout))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("stopped; the pods' processes go on")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(_main(Layout(Path(sys.argv[1]))))
