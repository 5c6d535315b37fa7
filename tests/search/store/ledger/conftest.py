"""What every ledger does, whatever database it is in."""

import pytest
from fake_measurements import CAMPAIGN

from search.store.ledger import SqlLedger


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request):
    """Give an empty database of each kind."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def ledger(url):
    ledger = SqlLedger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def campaign(ledger):
    return ledger.create_campaign(CAMPAIGN)
