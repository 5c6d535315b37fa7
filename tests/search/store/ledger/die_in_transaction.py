"""A driver that stands still between its last statement and the commit, to be killed there.

Usage: die_in_transaction.py URL
"""

import sys
import time
from pathlib import Path

from sqlalchemy import event

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fakes"))

from fake_measurements import ENVIRONMENT, MOMENT, result, task

from search.store.ledger import SqlLedger


def stand_still(connection):
    print("written, not committed", flush=True)
    time.sleep(60)


ledger = SqlLedger(sys.argv[1])
print(ledger.claim(task(), "doomed", 2 * MOMENT))
event.listen(ledger._engine, "commit", stand_still)
ledger.finish(result(task(), accuracy=0.1), "doomed", ENVIRONMENT)
