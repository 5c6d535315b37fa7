"""Why there is no proposal."""


class ProposerError(Exception):
    """A proposer has nothing to give, for a reason outside the program: its endpoint is away, refuses or is broken."""
