"""`--plot`: the figure is written beside the table, or it is said why not."""

from xml.etree import ElementTree

import pytest

from search.campaigns import machines
from search.commands.exits import ExitCode


def test_the_leaderboard_is_drawn_as_it_is_told(call, filled, tmp_path):
    figure = tmp_path / "front.svg"
    code, out, err = call("leaderboard", "--db", filled, "--ratio", "8", "--plot", str(figure))
    assert (code, err) == (ExitCode.DONE, f"wrote {figure}\n")
    assert "Quest1" in out
    drawn = {each.text for each in ElementTree.parse(figure).iter("{http://www.w3.org/2000/svg}text")}
    assert any(text and text.startswith("Quest1") for text in drawn)
    png = tmp_path / "curve.png"
    assert call("leaderboard", "--db", filled, "--plot", str(png))[0] == ExitCode.DONE
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("file", "says"),
    [("front.pdf", "ends with neither .png nor .svg"), ("nowhere/front.svg", "lies in no folder that is there")],
)
def test_a_figure_that_cannot_be_written_is_refused_at_once(call, filled, tmp_path, file, says):
    for command in (["leaderboard"], ["show", "1"]):
        code, out, err = call(*command, "--db", filled, "--plot", str(tmp_path / file))
        assert (code, out) == (ExitCode.USAGE, "")
        assert says in err


def test_no_picture_is_drawn_of_what_was_never_recorded(call, filled, tmp_path, monkeypatch):
    figure = tmp_path / "picture.png"
    code, _, err = call("show", "1", "--db", filled, "--plot", str(figure))
    assert code == ExitCode.REFUSED
    assert "its choices of pages were not measured here" in err
    monkeypatch.setattr(machines, "recording_behind", lambda *_: tmp_path / "none.safetensors")
    code, _, err = call("show", "1", "--db", filled, "--plot", str(figure))
    assert code == ExitCode.REFUSED
    assert "has not been recorded on this machine" in err
    assert not figure.exists()
    code, _, err = call("show", "1", "--db", filled, "--plot", str(figure), "--ratio", "16")
    assert code == ExitCode.USAGE
    assert "was not judged at a cost ratio of 16; it has 8" in err
