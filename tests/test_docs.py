"""The pages for those who carry on name what is there: every folder of ours, and no file or folder that is not."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("vortex_dsl", "search", "kernels", "prompts")
ARCHITECTURE, CONTRIBUTING = "docs/architecture.md", "CONTRIBUTING.md"
RECIPES = (
    "An operation", "A storage kind", "A backend", "A stage of the evaluator", "A proposer",
    "A column of the leaderboard",
)  # fmt: skip
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
PATH = re.compile(r"\.?[\w.-]+(/[\w.-]+)*/?")


def named(page):
    """Give the paths that a page names in running text: what has a slash or ends as our files do."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    words = {word for span in SPAN.findall(text) for word in span.split() if PATH.fullmatch(word)}
    return {word for word in words if "/" in word or word.endswith((".py", ".md", ".toml"))}


def folders():
    """Give every folder of the four packages that has a file in it."""
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    return {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in files if path.parent.name != "__pycache__"}


def test_architecture_names_every_folder():
    assert len(folders()) > 20
    assert folders() - named(ARCHITECTURE) == set()


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING])
def test_whatever_is_named_is_there(page):
    assert len(named(page)) > 30
    assert sorted(word for word in named(page) if not (ROOT / word).exists()) == []


@pytest.mark.parametrize("page", [ARCHITECTURE, CONTRIBUTING, "README.md"])
def test_links_lead_somewhere(page):
    targets = LINK.findall((ROOT / page).read_text())
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_paths_are_told_from_other_words(tmp_path):
    (tmp_path / "page.md").write_text("See `vortex_dsl/nowhere/`, `python docs/gone.py`, `q / k` and `api`.")
    assert named(tmp_path / "page.md") == {"vortex_dsl/nowhere/", "docs/gone.py"}


def test_there_is_a_recipe_for_each_way_to_extend():
    headings = re.findall(r"^## (.+)$", (ROOT / CONTRIBUTING).read_text(), re.MULTILINE)
    assert tuple(headings) == RECIPES


def test_what_recipes_name_in_the_code_is_there():
    """A name such as `WORKLOADS`, `TimeLimits` or `_good_enough` stands in a file that its line names."""
    for line in (ROOT / CONTRIBUTING).read_text().splitlines():
        files = [ROOT / word for word in SPAN.findall(line) if word.endswith(".py") and (ROOT / word).is_file()]
        names = [word for word in SPAN.findall(line) if re.fullmatch(r"_?[A-Za-z]+(_\w+)*", word)]
        if line.startswith("|") and files:
            text = "\n".join(path.read_text() for path in files)
            assert [name for name in names if not re.search(rf"\b{name}\b", text)] == [], line
