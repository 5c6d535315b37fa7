"""Several drivers open one new database at once and work on the same tasks; prints how many each could do.

Usage: claim_all.py URL NUM_DRIVERS NUM_TASKS
"""

import multiprocessing
import sys
from pathlib import Path

import alembic.command  # noqa: F401  (once, not once per driver)

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fakes"))

from fake_measurements import ENVIRONMENT, MINUTE, result, task

from search.contracts import Claim
from search.store.ledger import SqlLedger


def drive(url, owner, tasks, shares):
    ledger = SqlLedger(url)
    num_done = 0
    for task_ in tasks:
        if ledger.claim(task_, owner, MINUTE) is Claim.TAKEN:
            num_done += 1
            ledger.finish(result(task_, accuracy=0.5), owner, ENVIRONMENT)
    ledger.close()
    shares.put(num_done)


def main(url, num_drivers, num_tasks):
    fork = multiprocessing.get_context("fork")
    shares, tasks = fork.SimpleQueue(), [task(f"p{number}") for number in range(num_tasks)]
    drivers = [fork.Process(target=drive, args=(url, f"driver {n}", tasks, shares)) for n in range(num_drivers)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    print(*(shares.get() for driver in drivers if driver.exitcode == 0))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
