"""SIGKILL on both sides of every commit; `test_for_real.py` runs this file."""

from pinfleet.testing import kill_everywhere
from tests.unit.sdk.test_kill import banks, everything, people

test_a_run_survives_sigkill = kill_everywhere(everything(), 1, script=people, around=banks, sigkill=True)
