"""What every page stands on: the database, the templates, and what may be written."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import func, select

from search.dash import wording
from search.store import models

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

    from fastapi import Request
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from search.store.ledger import SqlLedger

Answer = TypeVar("Answer")

KEPT_S = 3.0  # for so long an answer of the database is given again
LASTING_S = 60.0  # and for so long one that only what is counted can change
MOST_KEPT = 256
STATIC = Path(__file__).with_name("static")
PAGES = (
    ("/", "Campaigns"),
    ("/fronts", "Fronts"),
    ("/budgets", "Budgets"),
    ("/leaderboard", "Leaderboard"),
    ("/journal", "Journal"),
    ("/earnings", "Earnings"),
    ("/money", "Money"),
)


def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("search.dash"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters |= wording.FILTERS
    found.globals |= {"pages": PAGES}
    return found


def _stamp(session: Session) -> tuple[object, ...]:
    """Give what changes with every candidate and with every evaluation that proposers see, without counting them."""
    kept = models.Tally
    counts = session.execute(select(kept.campaign_id, kept.kind, kept.name, kept.number)).all()
    return (session.scalar(select(func.max(models.Standing.id))), *sorted(map(tuple, counts)))


@dataclass(frozen=True)
class Site:
    """The dashboard's parts. `ledger` was opened for reading; `write_url` names the database where tags may be written.

    `secret`: of this process; whoever posts a form shows by it that the form was ours.
    """

    ledger: SqlLedger
    write_url: str = ""
    templates: Environment = field(default_factory=_templates)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _kept: dict[Hashable, tuple[float, object]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def engine(self) -> Engine:
        """The engine that only reads."""
        return self.ledger.engine

    @property
    def writes(self) -> bool:
        """Say whether tags and notes may be written."""
        return bool(self.write_url)

    @property
    def form_key(self) -> str:
        """What a form of ours carries: no page of another origin can read it."""
        return hmac.new(self.secret, b"form", "sha256").hexdigest()

    def reading(self) -> AbstractContextManager[Session]:
        """Give a session that sees one moment of the database and cannot write."""
        return self.ledger.reading()

    def cached(self, key: Hashable, ask: Callable[[Session], Answer], kept_s: float = KEPT_S) -> Answer:
        """Give what the database answered to the same question a moment ago, else ask it."""
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() - kept[0] < kept_s:
            return cast("Answer", kept[1])
        with self.reading() as session:
            answer = ask(session)
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = time.monotonic(), answer
        return answer

    def lasting(self, key: Hashable, ask: Callable[[Session], Answer]) -> Answer:
        """Give what the database answered as long as no candidate has come and no evaluation has ended since."""
        return self.cached((key, self.cached("stamp", _stamp)), ask, LASTING_S)

    def page(self, request: Request, name: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
        """Render a template of `templates/`, which extends `base.html`, or a fragment that extends nothing."""
        text = self.templates.get_template(name).render(
            path=request.url.path, query=request.url.query, site=self, **context
        )
        return HTMLResponse(text, status_code)
