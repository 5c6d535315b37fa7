"""The application: all pages under one guard."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from search.dash import budgets, campaigns, fronts, journal, leaderboard, login, remarks, rule, spending
from search.dash.guard import Guard
from search.dash.site import STATIC, Site
from search.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi.responses import HTMLResponse

    from search.store.ledger import SqlLedger

PARTS = (campaigns, fronts, budgets, leaderboard, journal, spending, remarks, rule)  # each has a `router(site)`
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def build(db: SqlLedger, token: str | None = None, writes: str = "", *, hosts: Iterable[str] = LOOPBACK) -> FastAPI:
    """Give the application over a ledger that was opened for reading.

    `token`: what whoever asks must have, None for nobody to be asked. `writes`: URL of the same database where tags
    and notes may be written, empty where not. `hosts`: names that it answers to, empty for any.
    """
    site = Site(db, writes)
    app = FastAPI(title="Vortex", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for each in PARTS:
        app.include_router(each.router(site))
    app.include_router(login.router(site, token))
    _explain(app, site)
    app.add_middleware(Guard, token=token, hosts=tuple(hosts))
    return app


def _explain(app: FastAPI, site: Site) -> None:
    """Answer whatever goes wrong by a page with a sentence."""

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> HTMLResponse:
        return _sorry(request, error.status_code, error.detail)

    @app.exception_handler(RequestValidationError)
    def misread(request: Request, error: RequestValidationError) -> HTMLResponse:
        told = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()[:4])
        return _sorry(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"The address asks for what cannot be: {told}.")

    @app.exception_handler(StoreError)
    def away(request: Request, error: StoreError) -> HTMLResponse:
        return _sorry(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    def _sorry(request: Request, code: int, told: str) -> HTMLResponse:
        return site.page(request, "sorry.html", status_code=code, title=HTTPStatus(code).phrase, told=told)
