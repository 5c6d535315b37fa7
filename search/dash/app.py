"""The application: all pages under one guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from search.dash import campaigns
from search.dash.guard import Guard
from search.dash.site import STATIC, Site

if TYPE_CHECKING:
    from collections.abc import Iterable

    from search.store.ledger import SqlLedger

PARTS = (campaigns,)  # each has a `router(site)`
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def build(db: SqlLedger, token: str | None = None, writes: str = "", *, hosts: Iterable[str] = LOOPBACK) -> FastAPI:
    """Give the application over a ledger that was opened for reading.

    `token`: what whoever asks must have, None for nobody to be asked. `writes`: URL of the same database where tags
    and notes may be written, empty where not. `hosts`: names that it answers to, empty for any.
    """
    site = Site(db, writes)
    app = FastAPI(title="Vortex", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = site
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for each in PARTS:
        app.include_router(each.router(site))
    app.add_middleware(Guard, token=token, hosts=tuple(hosts))
    return app
