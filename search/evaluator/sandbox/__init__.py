"""Child processes that can neither outlive us, nor hang us, nor see our secrets.

Where bubblewrap works a child has no network and no capability, root's included, and sees only the folders it needs;
elsewhere limits, its own process group and a clean environment remain. Calls to the kernel that no engine makes are
refused either way.
"""

from search.evaluator.sandbox.box import INHERITED, Box, bubblewrap
from search.evaluator.sandbox.child import (
    Child,
    ChildDeathError,
    ChildError,
    ChildMemoryError,
    ChildRefusalError,
    ChildTimeoutError,
    unheard,
)

__all__ = [
    "INHERITED",
    "Box",
    "Child",
    "ChildDeathError",
    "ChildError",
    "ChildMemoryError",
    "ChildRefusalError",
    "ChildTimeoutError",
    "bubblewrap",
    "unheard",
]
