"""What Ray's errors mean: whether a worker broke, or its node was lost with it."""

from __future__ import annotations

# In what Ray says of a dead actor. Its owner is this process, whose own node is gone where Ray takes it for dead.
LOST = ("node has died", "node died", "raylet", "preempt", "node was terminated", "owner has died")


def is_lost(error: Exception) -> bool:
    """Say whether a call failed for the loss of a node, or of the way to it: nothing that the task could have done."""
    from ray import exceptions

    if isinstance(error, exceptions.ActorUnavailableError | exceptions.RaySystemError | exceptions.RpcError):
        return True
    told = str(error).lower()
    return isinstance(error, exceptions.RayActorError) and any(words in told for words in LOST)


def reason(error: Exception) -> str:
    """Give the telling part of Ray's long messages."""
    cause = getattr(error, "cause", None)
    if cause is not None:
        return f"{type(cause).__name__}: {cause}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
