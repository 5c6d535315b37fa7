"""What may be asked for: the page of a rule, its large parts one by one, and the comparison of two."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from pydantic import StringConstraints

from search.contracts import LookError
from search.dash.choosing import Id, Readable
from search.dash.rule.comparing import pairs
from search.dash.rule.costs import Spending, UncountedError, fitted, shape_of, spending
from search.dash.rule.gathering import Rule, rule
from search.dash.rule.lineage import graph_of
from search.dash.rule.measured import stages
from search.dash.rule.pictures import Pictures
from search.dash.rule.programs import MAX_SHOWN, compiled, difference, highlighted
from search.report.wording import shown, title_case
from vortex_dsl import ProgramError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from search.dash.site import Site

MAX_NAMED = 100  # rows of a page, of which any may be ticked
MAX_MESSAGES = 64  # of a conversation in a page; the file has all
MAX_LOG = 50_000  # characters of what one stage said

Name = Annotated[str, StringConstraints(min_length=1, max_length=64), Readable]  # an id, or the beginning of a digest
Ratio = Annotated[float, Query(ge=0.0, le=1024.0)]
Layers = Annotated[str, Query(max_length=64, pattern=r"^\s*(\d{1,4}(\s*,\s*\d{1,4}){0,3})?\s*$")]


def router(site: Site) -> APIRouter:
    """Give the pages of rules."""
    from search.campaigns.machines import scratch

    pictures = Pictures(scratch)

    @asynccontextmanager
    async def ending(_app: object) -> AsyncIterator[None]:
        yield
        pictures.close()

    routes = APIRouter(default_response_class=HTMLResponse, lifespan=ending)
    _pages(routes, site)
    _parts(routes, site, pictures)
    _files(routes, site, pictures)
    return routes


def _pages(routes: APIRouter, site: Site) -> None:
    @routes.get("/rules/{name}")
    def shown(request: Request, name: Name, ratio: Ratio | None = None) -> Response:
        found = _named(site, name)
        if name != str(found.id):
            return RedirectResponse(f"/rules/{found.id}?{request.url.query}".rstrip("?"), 307)
        chosen = found.ratios[0] if found.ratios and ratio is None else ratio or 0.0
        return site.page(request, "rule/rule.html", **_rule(found, chosen))

    @routes.get("/compare")
    def asked(named: Annotated[list[Name], Query(alias="id", max_length=MAX_NAMED)] = []) -> Response:  # noqa: B006
        if len(named) != 2:
            raise HTTPException(422, f"Two rules are compared, but {len(named)} are named: tick or name two.")
        a, b = (_named(site, each.strip()).id for each in named)
        return RedirectResponse(f"/compare/{a}/{b}", 303)

    @routes.get("/compare/{a}/{b}")
    def compared(request: Request, a: Id, b: Id) -> HTMLResponse:
        one, other = _numbered(site, a), _numbered(site, b)
        common = [ratio for ratio in one.ratios if ratio in other.ratios and (one.check(ratio) or other.check(ratio))]
        costs = [(ratio, _spent(one, ratio), _spent(other, ratio)) for ratio in common]
        text = difference(one.proposal.text, other.proposal.text)
        return site.page(request, "rule/compare.html", a=one, b=other, pairs=pairs(one, other), text=text,
                         costs_by_ratio=costs)  # fmt: skip


def _parts(routes: APIRouter, site: Site, pictures: Pictures) -> None:
    @routes.get("/rules/{number}/compiled")
    def code(request: Request, number: Id, ratio: Ratio = 0.0) -> HTMLResponse:
        found, made, reason = _numbered(site, number), None, ""
        try:
            made = compiled(found.proposal.text, fitted(found, ratio), shape_of(found))
        except (UncountedError, ProgramError) as error:
            reason = str(error)
        kernels = highlighted(made.kernels) if made else ""
        return site.page(request, "rule/compiled.html", rule=found, made=made, kernels=kernels, reason=reason)

    @routes.get("/rules/{number}/conversation")
    def conversation(request: Request, number: Id) -> HTMLResponse:
        found = _numbered(site, number)
        said = _messages(found)
        return site.page(
            request, "rule/conversation.html", rule=found, messages=said[:MAX_MESSAGES], num=len(said), most=MAX_SHOWN
        )

    @routes.get("/rules/{number}/attention")
    def attention(request: Request, number: Id, ratio: Ratio = 0.0, layers: Layers = "") -> HTMLResponse:
        found, alt, reason = _numbered(site, number), "", ""
        try:
            alt = pictures.drawn(found, ratio, _wanted(layers)).title
        except LookError as error:
            reason = str(error)
        where = f"/rules/{number}/figures/attention.svg?{urlencode({'ratio': ratio, 'layers': layers})}"
        return site.page(request, "rule/attention.html", rule=found, ratio=ratio, layers=layers, alt=alt, reason=reason,
                         where=where)  # fmt: skip


def _files(routes: APIRouter, site: Site, pictures: Pictures) -> None:
    @routes.get("/rules/{number}/figures/attention.svg")
    def picture(number: Id, ratio: Ratio = 0.0, layers: Layers = "") -> Response:
        try:
            drawn = pictures.drawn(_numbered(site, number), ratio, _wanted(layers))
        except LookError as error:
            raise _missing(error) from error
        return Response(drawn.svg, media_type="image/svg+xml")

    @routes.get("/rules/{number}/source.txt")
    def source(number: Id) -> PlainTextResponse:
        return PlainTextResponse(_numbered(site, number).proposal.text)

    @routes.get("/rules/{number}/logs.txt")
    def logs(number: Id) -> PlainTextResponse:
        found = _numbered(site, number)
        lines = [f"admission: {found.candidate.status}: {found.candidate.message}"]
        lines += [f"{e.key.stage} at {e.ratio:g}: {e.status}: {e.message}" for e in found.record.evaluations]
        return PlainTextResponse("".join(f"{shown(line, MAX_LOG)}\n" for line in lines))

    @routes.get("/rules/{number}/conversation.json")
    def whole(number: Id) -> Response:
        said = _numbered(site, number).proposal.conversation or "[]"
        return Response(said, media_type="application/json")


def _rule(found: Rule, ratio: float) -> dict[str, Any]:
    """Give what the page of a rule is made from."""
    spent = _spent(found, ratio)
    return {
        "rule": found,
        "ratio": ratio,
        "source": highlighted(found.proposal.text),
        "most": MAX_SHOWN,
        "graph": graph_of(found),
        "parents": [(each, difference(each.proposal.text, found.proposal.text), pairs(each, found))
                    for each in found.parents],
        "stages": stages(found, ratio),
        "spent": spent if isinstance(spent, Spending) else None,
        "uncounted": "" if isinstance(spent, Spending) else spent,
    }  # fmt: skip


def _spent(found: Rule, ratio: float) -> Spending | str:
    try:
        return spending(found, ratio)
    except UncountedError as error:
        return str(error)


def _wanted(layers: str) -> tuple[int, ...]:
    return tuple(int(each) for each in layers.split(",") if each.strip())


def _messages(found: Rule) -> list[dict[str, str]]:
    """Give what was asked and answered, message by message; what is no list of messages is one, as it is."""
    written = found.proposal.conversation or "[]"
    try:
        said = json.loads(written)
        return [_message(each) for each in (said if isinstance(said, list) else [written])]
    except (ValueError, RecursionError):
        return [_message(written)]


def _message(said: Any) -> dict[str, str]:
    told = said if isinstance(said, dict) else {"content": said}
    content, rest = told.get("content") or "", {k: v for k, v in told.items() if k not in ("role", "content") and v}
    written = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2)
    more = json.dumps(rest, ensure_ascii=False, indent=2) if rest else ""
    return {"role": str(told.get("role", "message")), "content": "\n".join(filter(None, (written, more)))}


def _numbered(site: Site, number: int) -> Rule:
    try:
        return rule(site, number)
    except LookupError as error:
        raise _missing(error) from error


def _named(site: Site, name: str) -> Rule:
    try:
        return Rule(site, site.ledger.find(name))
    except LookupError as error:
        raise _missing(error) from error


def _missing(error: LookupError | LookError) -> HTTPException:
    return HTTPException(404, f"{title_case(str(error))}.")
