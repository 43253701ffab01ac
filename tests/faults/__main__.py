"""`make faults`: every fault plan, or one by its name; prints a line for each and a table at the end."""

import asyncio
import sys

from tests.faults.all_plans import main

if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
