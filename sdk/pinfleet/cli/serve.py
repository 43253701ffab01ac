"""``pinfleet-agent serve``: what an agent image runs."""

import argparse
import logging
import os
import sys
from importlib import import_module
from typing import Any, Final

from pinfleet import config, logs, rules
from pinfleet.agent import Agent, as_agent
from pinfleet.errors import BadDeclaration

_LOG: Final = logging.getLogger("pinfleet.pod")


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="serve an agent; settings come from PINFLEET_* in the environment")
    parser.add_argument("agent", help="module:attribute, such as agent:agent; the working folder is importable")
    parser.set_defaults(run_command=run)


def run(asked: argparse.Namespace) -> int:
    """Serve until the pod is told to end."""
    settings = config.from_environment()
    logs.set_up(fleet=settings.fleet, version=settings.version, pod=settings.pod_uid)
    switches = rules.from_environment()
    agent = load(asked.agent)
    if settings.schema is not None and settings.schema != agent.schema:
        extra = {"agent": agent.schema, "fleet": settings.schema}
        _LOG.warning("Agent(schema=) differs from the fleet's schemaVersion", extra=extra)
    from pinfleet.pod.process import serve as serve_agent  # noqa: PLC0415 - loads the web server

    return serve_agent(agent, settings, switches)


def load(target: str) -> Agent:
    """Import ``module:attribute``.

    Raises:
        BadDeclaration: There is no such agent.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise BadDeclaration(f"{target!r} is not module:attribute")
    here = os.getcwd()  # noqa: PTH109 - sys.path holds text
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as err:
        if err.name != module.partition(".")[0] and err.name != module:
            raise
        raise BadDeclaration(f"no module {module!r} in {here} or on the path") from err
    return as_agent(getattr(loaded, attribute, None), target)
