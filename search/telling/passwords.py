"""Passwords in the URLs of databases: taken out of whatever is told, and out of what others can read of this process.

A place is told because it is wrong, so that nothing that takes it apart need succeed: what is hidden is found by its
form. Of a path with such a form a part is hidden too, and only in what is told.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

HIDDEN = b"*"
# After a name, up to the last "@", as a password may hold one; and the values of options that are called so.
FORMS = re.compile(
    rb":(?!//)(?P<login>[^\0\s]*)@"
    rb"|[?&][^=&\0\s]*(?:pass|secret|key|token)[^=&\0\s]*=(?P<option>[^&\0\s]*)",
    re.IGNORECASE,
)
BEGINS, ENDS = 45, 46  # of the arguments, among the fields of /proc/self/stat that follow the name


def without_passwords(text: str) -> str:
    """Give a text with three stars in the place of each password in a URL."""
    hidden = FORMS.sub(_starred, text.encode(errors="surrogateescape"))
    return hidden.decode(errors="surrogateescape")


def hide_passwords() -> None:
    """Blank them among the arguments with which this process was started: who lists processes reads these.

    So does Ray, which keeps them beside a driver's name, for all who may look at its cluster. Idempotent.
    """
    fields = Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()
    begins, ends = int(fields[BEGINS]), int(fields[ENDS])
    if not 0 < begins < ends:
        return
    for found in FORMS.finditer(ctypes.string_at(begins, ends - begins)):
        first, last = found.span(found.lastgroup or 0)
        ctypes.memset(begins + first, ord(HIDDEN), last - first)


def _starred(found: re.Match[bytes]) -> bytes:
    first, last = (place - found.start() for place in found.span(found.lastgroup or 0))
    return found[0][:first] + 3 * HIDDEN + found[0][last:]
