"""What goes wrong with machines."""


class PoolError(RuntimeError):
    """The machines cannot do what was asked. The message says what is missing."""
