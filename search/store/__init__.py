"""The ledger: the only SQL of the project."""

from search.store.errors import StoreError

__all__ = ["StoreError"]
