"""`vortex dash` in a process of its own, over a real socket."""

import urllib.error
import urllib.request

import pytest

from benchmarks.dash.__main__ import serving
from search.cli import main

TOKEN = "a-token-of-some-length"


def test_it_serves_until_it_is_stopped(file):
    with serving(file) as url:
        with urllib.request.urlopen(f"{url}/leaderboard") as answer:
            assert answer.status == 200
            assert b"<h1>Leaderboard</h1>" in answer.read()
        request = urllib.request.Request(url, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="421"):
            urllib.request.urlopen(request)


def test_other_machines_are_served_with_a_token_alone(file, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VORTEX_DASH_TOKEN", raising=False)
    db = ["--db", f"sqlite:///{file}", "--port", "0"]
    assert main(["dash", "--host", "0.0.0.0", *db]) == 2
    assert "--host 0.0.0.0 can be reached from other machines, so it needs a token" in capsys.readouterr().err
    for token in ("short", "with space in the middle", "ümlaut-ümlaut-ümlaut", ""):
        (tmp_path / "token").write_text(token)
        assert main(["dash", "--token-file", str(tmp_path / "token"), *db]) == 2
        said = capsys.readouterr().err
        assert f"printable ASCII characters without spaces, but holds {len(token.encode())} characters" in said


def test_a_place_that_cannot_be_served_is_told(file, tmp_path, capsys):
    assert main(["dash", "--host", "192.0.2.1", "--db", f"sqlite:///{file}"]) == 2
    assert "cannot be served" in capsys.readouterr().err
    for name, told in (("none.db", "`vortex run` makes one"), ("", "is a folder")):
        assert main(["dash", "--port", "0", "--db", str(tmp_path / name)]) == 2
        assert told in capsys.readouterr().err, "as every command says it"
