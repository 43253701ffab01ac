"""``pinfleet-agent conform``: asks a container whether it keeps the run contract, from outside, in any language.

``pod`` makes the calls, ``checks`` is the list of what is asked, ``session`` asks it in order and says what was found.
"""

from pinfleet.conform.session import Question, conform

__all__ = ["Question", "conform"]
