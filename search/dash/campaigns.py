"""Campaigns: how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

if TYPE_CHECKING:
    from search.dash.site import Site


def router(site: Site) -> APIRouter:
    """Give the pages of campaigns."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/")
    def listed(request: Request) -> HTMLResponse:
        return site.page(request, "campaigns.html", campaigns=site.ledger.campaigns())

    return routes
