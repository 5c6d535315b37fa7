"""Where a browser gives the token, once; it keeps it in a cookie that no script reads and no other site sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from search.dash.choosing import Word
from search.dash.guard import COOKIE, LOGIN, cookie_of, is_same
from search.dash.remarks import Form

if TYPE_CHECKING:
    from search.dash.site import Site

KEPT_S = 30 * 24 * 3600


def router(site: Site, token: str | None) -> APIRouter:
    """Give the page and where its form goes."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get(LOGIN)
    def ask(request: Request, to: Word = "/") -> Response:
        return site.page(request, "login.html", to=_inside(to), wrong=False) if token else RedirectResponse("/", 303)

    @routes.post(LOGIN)
    def take(request: Request, form: Form) -> Response:
        to = _inside(form.get("to", "/"))
        if not token or not is_same(form.get("token", "").strip(), token.encode()):
            return site.page(request, "login.html", to=to, wrong=True, status_code=403)
        answer = RedirectResponse(to, 303)
        is_tls = request.url.scheme == "https"
        answer.set_cookie(COOKIE, cookie_of(token), max_age=KEPT_S, httponly=True, samesite="strict", secure=is_tls)
        return answer

    return routes


def _inside(to: str) -> str:
    """Keep an address only where it leads to a page of ours."""
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"
