"""``python -m pinfleet.cli``."""

import sys

from pinfleet.cli import main

sys.exit(main())
