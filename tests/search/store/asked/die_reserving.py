"""A driver that keeps back dollars, and stands still before the commit of a second time, to be killed there.

Usage: die_reserving.py URL CAMPAIGN
"""

import sys
import time

from sqlalchemy import event

from search.asking.owing import Reserved
from search.store.ledger import SqlLedger


def stand_still(connection):
    print("written, not committed", flush=True)
    time.sleep(60)


ledger, campaign = SqlLedger(sys.argv[1]), int(sys.argv[2])
ledger.reserve(Reserved("a", campaign, 0, "big", "m", 0.5), 1.0)
print("reserved", flush=True)
event.listen(ledger._engine, "commit", stand_still)
ledger.reserve(Reserved("b", campaign, 1, "big", "m", 0.5), 1.0)
