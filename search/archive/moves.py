"""The operator of a candidate that several moves made: their names, joined."""

JOINT = "+"


def moves_of(operator: str) -> tuple[str, ...]:
    """Give the moves that an operator names, each once; none of an empty one."""
    return tuple(dict.fromkeys(filter(None, operator.split(JOINT))))
