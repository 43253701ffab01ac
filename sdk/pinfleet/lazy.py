"""Modules that are loaded when something of them is first used.

An agent's module names ``Agent``, ``Ctx`` and ``Call``; what only a run needs is loaded by the first run.
"""

from importlib import import_module
from typing import Any


class Lazy:
    """Stands for a module.

    Args:
        name: Of the module.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        """Load the module, and keep what was asked for."""
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value
