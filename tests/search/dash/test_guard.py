"""Who may ask and write, and that nothing else is read or written."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text as sql
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from search.dash.app import build
from search.store.errors import StoreError
from search.store.ledger import SqlLedger

HERE = "http://127.0.0.1:8787"
TOKEN = "a-token-of-some-length"


def client(url, **given):
    return TestClient(build(SqlLedger(url, read_only=True), **given), base_url=HERE, follow_redirects=False)


def key_of(site, rule=1):
    return re.search(r'name="key" value="(\w+)"', site.get(f"/rules/{rule}/remarks").text).group(1)


def test_only_names_of_this_machine_are_answered(site):
    for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.:8787"):
        assert site.get("/", headers={"host": host}).status_code == 421
    for host in ("localhost:1", "127.0.0.1", "[::1]:8787"):
        assert site.get("/", headers={"host": host}).status_code == 200


def test_every_answer_forbids_what_is_not_ours(site):
    for page in ("/", "/leaderboard", "/static/dash.css", "/nowhere", "/leaderboard?page=x"):
        headers = site.get(page).headers
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert "default-src" in site.get("/", headers={"host": "evil.example"}).headers["content-security-policy"]


def test_pages_name_no_other_host_and_hold_no_script(site):
    for page in ("/", "/fronts", "/budgets", "/leaderboard", "/journal", "/campaigns/1", "/campaigns/1/time"):
        text = site.get(page).text
        assert not re.search(r'(?:src|href|action|hx-\w+)="(?:https?:)?//', text)
        assert not re.search(r"\son\w+=", text)
        assert not re.search(r"<script(?! src=)", text)
        assert "style=" not in text


def test_there_is_no_page_of_the_frameworks(site):
    for page in ("/docs", "/redoc", "/openapi.json"):
        assert site.get(page).status_code == 404


def test_only_files_of_the_dashboard_are_given(site):
    assert site.get("/static/dash.css").status_code == 200
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd",
                 "/static/vendor/%2e%2e/%2e%2e/guard.py"):  # fmt: skip
        assert site.get(path).status_code in (404, 405)


def test_a_token_is_asked_for(writable):
    with client(writable, token=TOKEN) as site:
        assert site.get("/").status_code == 401
        assert site.get("/", headers={"authorization": "Bearer wrong"}).status_code == 401
        assert site.get("/", headers={"authorization": "Bearer ä".encode()}).status_code == 401
        assert site.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        page = site.get("/leaderboard?q=a", headers={"accept": "text/html"})
        assert page.headers["location"] == "/login?to=/leaderboard%3Fq%3Da"
        assert site.get("/static/dash.css").status_code == 200


def test_a_browser_gives_the_token_once(writable):
    with client(writable, token=TOKEN) as site:
        own = {"origin": HERE}
        assert site.post("/login", data={"token": "wrong"}, headers=own).status_code == 403
        assert site.post("/login", data={"token": TOKEN}).status_code == 403
        answer = site.post("/login", data={"token": TOKEN, "to": "/fronts"}, headers=own)
        assert answer.headers["location"] == "/fronts"
        assert {"HttpOnly", "SameSite=strict"} <= {each.strip() for each in answer.headers["set-cookie"].split(";")}
        assert site.get("/fronts").status_code == 200
        for to in ("//evil.example", "https://evil.example", "/\\evil.example", "/\nx"):
            answer = site.post("/login", data={"token": TOKEN, "to": to}, headers=own)
            assert answer.headers["location"] == "/"


def test_a_cookie_is_no_token_and_a_token_no_cookie(writable):
    """Cookies know no ports: whatever else is served on the same host is sent this one."""
    with client(writable, token=TOKEN) as site:
        answer = site.post("/login", data={"token": TOKEN}, headers={"origin": HERE})
        kept = re.match(r"vortex_dash=([^;]+);", answer.headers["set-cookie"])[1]
        site.cookies.clear()
        assert TOKEN not in answer.headers["set-cookie"]
        assert site.get("/", headers={"cookie": f"vortex_dash={kept}"}).status_code == 200
        for headers in (
            {"authorization": f"Bearer {kept}"},
            {"cookie": f"vortex_dash={TOKEN}"},
            {"cookie": f"vortex_dash={kept[:-1]}"},
            {"cookie": "vortex_dash="},
            {"cookie": 'vortex_dash="\\377'},
            {"authorization": "Bearer"},
            {"authorization": f"Basic {TOKEN}"},
        ):
            assert (headers, site.get("/", headers=headers).status_code) == (headers, 401)
        for page in (f"/?token={TOKEN}", "/login/../leaderboard", "/static/../leaderboard", "/rules/1/source.txt"):
            assert (page, site.get(page).status_code) in ((page, 401), (page, 404))


def test_what_people_write_is_text_and_what_is_too_much_is_refused_unread(writable):
    hostile = "<script>alert(1)</script>\x00\x1b[31m\u202eevil\u2066"
    with client(writable, writes=writable) as site:
        own, key = {"origin": HERE}, key_of(site)
        for kind in ("tag", "note"):
            site.post("/rules/1/remarks", data={"kind": kind, "text": hostile, "key": key}, headers=own)
        for page in ("/rules/1/remarks", "/leaderboard"):
            text = site.get(page).text
            assert "&lt;script&gt;alert(1)&lt;/script&gt;[31mevil" in text
            assert not re.search(r"<script>alert|[\x00\x1b\u202e\u2066]", text)
        large = b"kind=note&text=" + b"x" * 10_000_000
        form = {**own, "content-type": "application/x-www-form-urlencoded"}
        assert site.post("/rules/1/remarks", content=large, headers=form).status_code == 413
        assert site.post("/rules/1/remarks", content=iter([large]), headers=form).status_code == 413, "of no length"


def test_nothing_is_written_unless_that_was_asked_for(writable):
    with client(writable) as site:
        assert "<form" not in site.get("/rules/1/remarks").text
        answer = site.post("/rules/1/remarks", data={"kind": "tag", "text": "mine"}, headers={"origin": HERE})
        assert answer.status_code == 403
        assert "--writes" in answer.text


def test_tags_and_notes_are_written_and_deleted(writable):
    with client(writable, writes=writable) as site:
        own, key = {"origin": HERE}, key_of(site)
        for kind, text in (("tag", " two \n words "), ("note", "a note\r\nof two lines"), ("tag", "two words")):
            answer = site.post("/rules/1/remarks", data={"kind": kind, "text": text, "key": key}, headers=own)
            assert answer.headers["location"] == "/rules/1/remarks"
        found = SqlLedger(writable, read_only=True)
        with found.reading() as session:
            rows = session.execute(sql("select kind, text from remark order by id")).all()
        assert rows == [("tag", "two words"), ("note", "a note\nof two lines")]
        assert "two words" in site.get("/leaderboard", params={"tag": "two words"}).text
        listed = site.get("/leaderboard", params={"tag": "two words"}).text
        assert re.search(r'id="rows">1 rule at', listed)
        deleting = re.search(r'action="(/rules/1/remarks/\d+/delete)"', site.get("/rules/1/remarks").text).group(1)
        site.post(deleting, data={"key": key}, headers=own)
        assert "/leaderboard?tag=" not in site.get("/rules/1/remarks").text
        assert "of two lines" in site.get("/rules/1/remarks").text


def test_what_no_page_of_ours_has_sent_writes_nothing(writable):
    with client(writable, writes=writable) as site:
        key, said = key_of(site), {"kind": "tag", "text": "mine"}
        for headers, data, code in (
            ({}, {**said, "key": key}, 403),
            ({"origin": "http://evil.example"}, {**said, "key": key}, 403),
            ({"origin": "null"}, {**said, "key": key}, 403),
            ({"origin": HERE}, said, 403),
            ({"origin": HERE}, {**said, "key": "0" * 64}, 403),
            ({"origin": HERE}, {"kind": "tag", "text": " \x00\n", "key": key}, 422),
            ({"origin": HERE}, {"kind": "sql", "text": "x", "key": key}, 422),
            ({"origin": HERE}, {"kind": "tag", "text": "x" * 61, "key": key}, 422),
            ({"origin": HERE}, {"kind": "note", "text": "x" * 70_000, "key": key}, 413),
            ({"origin": HERE}, {f"f{i}": "x" for i in range(99)}, 400),
        ):
            assert (data, site.post("/rules/1/remarks", data=data, headers=headers).status_code) == (data, code)
        missing = site.post("/rules/999/remarks", data={**said, "key": key}, headers={"origin": HERE})
        assert missing.status_code == 422
        assert "None yet" in site.get("/rules/1/remarks").text


def test_the_database_is_opened_for_reading(writable):
    ledger = SqlLedger(writable, read_only=True)
    with pytest.raises(OperationalError, match="readonly"), ledger.engine.connect() as connection:
        connection.execute(sql("delete from standing"))
    with pytest.raises(StoreError, match="no database"):
        SqlLedger("sqlite:////nowhere/at/all.db", read_only=True)


def test_reading_leaves_the_file_as_it_was(writable):
    file = Path(writable.removeprefix("sqlite:///"))
    before = file.read_bytes()
    with client(writable) as site:
        for page in ("/", "/leaderboard", "/fronts", "/campaigns/1/time", "/earnings"):
            assert site.get(page).status_code == 200
    assert file.read_bytes() == before


def test_an_older_schema_is_not_read(writable):
    with SqlLedger(writable)._engine.begin() as connection:
        connection.execute(sql("update vortex_schema set version_num = '0008'"))
    with pytest.raises(StoreError, match="'0008'"):
        SqlLedger(writable, read_only=True)
