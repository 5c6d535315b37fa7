"""Every command and every piece of Python in the pages runs: in bash as it stands, or it says here why it is parsed."""

import re
import shutil

import pytest

from search.cli import commands
from search.store.ledger import SqlLedger
from tests.docs.conftest import ONLY_PARSED
from tests.docs.shell import DOCS, blocks, lay_out, lines

ELSEWHERE = {
    "agents.md": "tests/search/test_agents_page.py",
    "tutorial.md": "the fixture of that name",
}  # pages whose commands are run by other tests
PAGES = sorted(path.name for path in DOCS.glob("*.md") if lines(path.name) and path.name not in ELSEWHERE)
PYTHON_ELSEWHERE = {
    "language.md": "tests/vortex_dsl/frontend/test_examples.py",
    "campaigns.md": "tests/search/campaigns/test_api.py",
}


@pytest.fixture
def place(tutorial, tmp_path):
    """Give a folder with what the tutorial left: a ledger, and a wheel."""
    ledger = tutorial.folder / "results.db"
    for path in ledger.parent.glob("results.db*"):
        shutil.copy(path, tmp_path)
    shutil.copytree(tutorial.folder / "dist", tmp_path / "dist")
    return tmp_path


def timed(folder):
    """Give the id of a rule whose speed was measured."""
    ledger = SqlLedger(f"sqlite:///{folder}/results.db")
    found = next(str(each.id) for each in ledger.standings() if each.speedup)
    ledger.close()
    return found


def test_the_tutorial_ends_with_a_wheel_whose_plugin_it_names(tutorial):
    (wheel,) = (tutorial.folder / "dist").glob("*.whl")
    digest = wheel.name.split("_")[2].split("-")[0]
    served = next(call for call in tutorial.calls if "--attention-backend" in call.words)
    assert served.variables["VORTEX_PLUGIN"] == f"vortex-{digest}"
    (points,) = (tutorial.folder / ".installed").glob("*.dist-info/entry_points.txt")
    assert f"vortex-{digest} = vortex_{digest}.serving.plugin:register" in points.read_text()
    assert (tutorial.folder / "report").is_dir()


def test_the_tutorial_serves_what_it_searched_with(tutorial):
    """The rule that it exports is one that `vortex show` tells about, and the server is asked by the name it has."""
    shown, exported = (next(c.words[1] for c in tutorial.calls if c.words[0] == name) for name in ("show", "export"))
    assert shown == exported == next(iter(re.findall(r"\d+", exported)))
    served = next(call.words for call in tutorial.calls if "--served-model-name" in call.words)
    asked = next(call.words for call in tutorial.calls if call.name == "curl" and "-d" in call.words)
    assert f'"model": "{served[served.index("--served-model-name") + 1]}"' in asked[asked.index("-d") + 1]
    assert "vllm:vortex_pages_attended_total" in tutorial.said


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page, place, shell_of):
    lay_out(page, place)
    shell, answerer = shell_of(place, timed=timed(place))
    code, said = shell.run("\n".join(blocks(page, "sh")))
    assert code == 0, said
    assert answerer.calls


def test_a_wrong_option_is_seen(place, shell_of):
    shell, _ = shell_of(place)
    for wrong in ("vortex leaderboard --wehre x", "vortex verify --modle x wheel", "ray start --prot 1"):
        with pytest.raises(Exception, match=r"(?i)no (such )?option"):
            shell.run(wrong)


def test_whatever_is_only_parsed_has_a_reason_that_holds(tutorial, tmp_path, shell_of):
    """Each reason is that of some line of the pages, and no command that could run is among them."""
    every = [line for path in DOCS.glob("*.md") for line in lines(path.name)]
    for why in ONLY_PARSED:
        pattern = re.compile(r"(^|[ (])" + ".* ?".join(map(re.escape, why.split(" … "))))
        assert any(pattern.search(line) for line in every), why
    assert set(tutorial.parsed) == {"vortex verify", "vortex dash", "vllm", "curl", "pip uninstall"}


def test_there_is_enough_to_run():
    assert len(PAGES) >= 8
    assert sum(len(lines(page)) for page in PAGES) > 30
    assert all((DOCS / page).exists() for page in (*ELSEWHERE, *PYTHON_ELSEWHERE))


@pytest.mark.parametrize("page", [p.name for p in DOCS.glob("*.md") if blocks(p.name, "python")])
def test_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """A block that begins with a file's name is that file; the others run, one after the other, beside it."""
    if page in PYTHON_ELSEWHERE:
        return
    monkeypatch.chdir(tmp_path)
    lay_out(page, tmp_path)
    run = [body for body in blocks(page, "python") if not re.match(r"# \w+\.py\n", body)]
    for body in run:
        exec(compile(body, page, "exec"), {})
    assert run


@pytest.mark.parametrize("page", [p.name for p in DOCS.glob("*.md")])
def test_commands_in_running_text_exist(page):
    """`vortex …` within a sentence names a command, and options of it."""
    text = re.sub(r"^(`{3,}).*?^\1", "", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    for words in (span.split()[1:] for span in re.findall(r"`(vortex [a-z][^`]*)`", text)):
        name = next((name for name in (" ".join(words[:2]), words[0]) if name in commands()), None)
        assert name, words
        known = {opt for param in commands()[name].params for opt in (*param.opts, *param.secondary_opts)}
        assert [word for word in words if word.startswith("--") and word not in known] == [], words


def test_variables_of_ours_are_documented():
    """Each VORTEX_… that the sources name stands on the page of variables, and no other one does."""
    sources = [p for name in ("search", "vortex_dsl", "kernels", "tests") for p in (DOCS.parent / name).rglob("*.py")]
    named = {each for path in sources for each in re.findall(r"\bVORTEX_[A-Z][A-Z_]*[A-Z]\b", path.read_text())}
    named -= {"VORTEX_COMPLETE"}  # click's own
    assert named == set(re.findall(r"\bVORTEX_[A-Z_]*[A-Z]\b", (DOCS / "settings.md").read_text()))


def test_settings_of_the_plugin_are_documented():
    from dataclasses import fields

    from vortex_dsl.serving.config import ServingConfig

    table = (DOCS / "settings.md").read_text().split("## Variables")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [field.name for field in fields(ServingConfig)]
