"""What every page stands on: the database, the templates, and what may be written."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from search.dash import wording

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from fastapi import Request
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import Session

    from search.store.ledger import SqlLedger

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


@dataclass(frozen=True)
class Site:
    """The dashboard's parts. `ledger` was opened for reading; `write_url` names the database where tags may be written.

    `secret`: of this process; whoever posts a form shows by it that the form was ours.
    """

    ledger: SqlLedger
    write_url: str = ""
    templates: Environment = field(default_factory=_templates)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

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

    def page(self, request: Request, name: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
        """Render a template of `templates/`, which extends `base.html`, or a fragment that extends nothing."""
        text = self.templates.get_template(name).render(
            path=request.url.path, query=request.url.query, site=self, **context
        )
        return HTMLResponse(text, status_code)
