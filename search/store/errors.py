"""Why a database cannot be used."""


class StoreError(Exception):
    """The database cannot be opened or is not ours. The message is one sentence for people."""


class AwayError(StoreError):
    """The database is away, locked or full for now: whatever was asked may be asked again."""


class SchemaError(StoreError):
    """A ledger of an older version, where it is only read. The message says what brings it up to date."""


class NoDatabaseError(StoreError):
    """What was given as the name of a database is none, wherever it is looked for."""
