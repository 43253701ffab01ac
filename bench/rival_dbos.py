"""`python rival_dbos.py URL`: milliseconds of a small DBOS step, the median of 300 in one workflow."""

import sys
import time
from statistics import median

from dbos import DBOS, DBOSConfig  # type: ignore[import-not-found]

STEPS = 300


def main(url: str) -> None:
    """Run one workflow of many steps."""
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False}
    DBOS(config=config)
    taken: list[float] = []

    @DBOS.step()  # type: ignore[untyped-decorator]
    def work(order_id: str) -> str:
        return f"{order_id}{'x' * 100}"

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def flow() -> None:
        for _ in range(STEPS):
            began = time.perf_counter()
            work("o-123456")
            taken.append(time.perf_counter() - began)

    DBOS.launch()
    flow()
    DBOS.destroy()
    print(1000 * median(taken[20:]))


if __name__ == "__main__":
    main(sys.argv[1])
