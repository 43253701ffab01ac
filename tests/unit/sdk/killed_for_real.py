"""SIGKILL on both sides of every commit, on SQLite; `test_for_real.py` and `make kills` run this file."""

from pinfleet.testing import kill_everywhere
from tests.unit.sdk.test_kill import banks, everything, people, segmented, talk

test_a_run_survives_sigkill = kill_everywhere(everything(), 1, script=people, around=banks, sigkill=True)
test_a_restarted_run_survives_sigkill = kill_everywhere(segmented(), 2, script=talk, sigkill=True)
