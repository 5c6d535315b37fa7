"""Why a database cannot be used."""


class StoreError(Exception):
    """The database cannot be opened or is not ours. The message is one sentence for people."""
