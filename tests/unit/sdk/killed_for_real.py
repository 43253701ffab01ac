"""Cases of `test_kill.py` that fork: run as a session of their own, in which no test before them has left a thread."""

from pinfleet.testing import kill_everywhere
from tests.unit.sdk.test_kill import banks, everything, people

test_a_run_survives_sigkill = kill_everywhere(everything(), 1, script=people, around=banks, sigkill=True)
