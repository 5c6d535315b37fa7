"""The way in by the name that is the same wherever this is installed: `from vortex_search import Campaign`.

A wheel holds the package `search` by this name (`hatch_build.py`), and not this file. In the repository, and in an
editable install of it, names that others bear as well are imported; where they find others, the command says so.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search import Campaign  # noqa: F401 - for type checkers

HERE = Path(__file__).resolve().parent
INFRASTRUCTURE = 4  # the command's exit code for what is wrong with the machine


def __getattr__(name: str) -> Any:
    """Load the way in when it is asked for: the command may have to say that `search` is somebody else's."""
    if name != "Campaign":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from search import Campaign

    return Campaign


def main() -> int:
    """Run the `vortex` command; all but `vortex doctor` only where no name of ours is somebody else's."""
    spec = find_spec("search")
    found = spec.origin if spec is not None else None
    if found is None or Path(found).resolve().parent != HERE / "search":
        return _refuse(f"`import search` finds {found} in the place of {HERE / 'search'}: uninstall what brings it")
    from search import main as run
    from search.naming.names import complaint

    told = complaint()
    return _refuse(told) if told and sys.argv[1:2] != ["doctor"] else run()


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"vortex: {sentence}\n")
    return INFRASTRUCTURE
