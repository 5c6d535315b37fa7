"""Tags and notes that people write beside rules: all that the dashboard writes, and only where it may."""

from __future__ import annotations

import hmac
import unicodedata
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select

from search.dash.choosing import Id
from search.dash.guard import MAX_BODY_BYTES
from search.store import models
from search.store.remarks import MOST_NOTE, MOST_OF_ONE, MOST_TAG, NOTE, TAG, Remarks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from search.dash.site import Site

MOST_FIELDS = 8
LONGEST = {TAG: MOST_TAG, NOTE: MOST_NOTE}


@dataclass(frozen=True)
class Written:
    """What is written beside one rule."""

    candidate: int
    tags: Sequence[models.Remark]
    notes: Sequence[models.Remark]


async def _form(request: Request) -> dict[str, str]:
    """Read a form of a few short fields, without the files that a browser could send too."""
    body = await request.body()
    if len(body) > MAX_BODY_BYTES:
        raise HTTPException(413, f"A form may have at most {MAX_BODY_BYTES:,} bytes.")
    try:
        given = parse_qs(body.decode(), max_num_fields=MOST_FIELDS, keep_blank_values=True)
    except ValueError as error:
        raise HTTPException(400, "This is no form of this site.") from error
    return {name: values[-1] for name, values in given.items()}


Form = Annotated[dict[str, str], Depends(_form)]


def router(site: Site) -> APIRouter:
    """Give what is written beside a rule, as a part of its page, and where forms go."""
    routes = APIRouter(default_response_class=HTMLResponse)

    @routes.get("/rules/{number}/remarks")
    def remarks(request: Request, number: Id) -> HTMLResponse:
        with site.reading() as session:
            name = "remarks.html" if "hx-request" in request.headers else "remarks_page.html"
            return site.page(request, name, written=_read(session, number), longest=LONGEST)

    @routes.post("/rules/{number}/remarks")
    def write(number: Id, form: Form) -> RedirectResponse:
        _check(site, form)
        kind, text = form.get("kind", ""), _plain(form.get("text", ""), form.get("kind", ""))
        if kind not in LONGEST or not text:
            raise HTTPException(422, "A remark is a tag or a note, and says something.")
        if len(text) > LONGEST[kind]:
            raise HTTPException(
                422, f"This {kind} has {len(text):,} characters, but at most {LONGEST[kind]:,} are kept."
            )
        with closing(Remarks(site.write_url)) as kept:
            if not kept.add(number, kind, text):
                raise HTTPException(
                    422, f"There is no rule {number}, or {MOST_OF_ONE} remarks are written beside it: delete one."
                )
        return _back(number)

    @routes.post("/rules/{number}/remarks/{remark}/delete")
    def delete(number: Id, remark: Id, form: Form) -> RedirectResponse:
        _check(site, form)
        with closing(Remarks(site.write_url)) as kept:
            kept.remove(number, remark)
        return _back(number)

    return routes


def _read(session: Session, candidate: int) -> Written:
    mark = models.Remark
    if session.get(models.Candidate, candidate) is None:
        raise HTTPException(404, f"There is no rule {candidate}.")
    found = session.scalars(select(mark).where(mark.candidate_id == candidate).order_by(mark.id)).all()
    return Written(candidate, [m for m in found if m.kind == TAG], [m for m in found if m.kind == NOTE])


def _check(site: Site, form: dict[str, str]) -> None:
    """Refuse where nothing may be written, and what no page of ours has sent."""
    if not site.writes:
        raise HTTPException(403, "Nothing is written here: `vortex dash --writes` lets tags and notes be written.")
    if not hmac.compare_digest(form.get("key", "").encode(), site.form_key.encode()):
        raise HTTPException(403, "This form is of another run of the dashboard: load its page again.")


def _plain(text: str, kind: str) -> str:
    """Make a tag one word or several in one line, and drop what is not seen from both."""
    kept = text.replace("\r\n", "\n")
    lines = kept.split("\n") if kind == NOTE else [" ".join(kept.split())]
    return "\n".join("".join(c for c in line if unicodedata.category(c)[0] != "C") for line in lines).strip()


def _back(candidate: int) -> RedirectResponse:
    return RedirectResponse(f"/rules/{candidate}/remarks", 303)
