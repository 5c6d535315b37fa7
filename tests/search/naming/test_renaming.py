"""Sources under other names: what is an import, what is a module's name in a string, and what is neither."""

import ast
from pathlib import Path

import pytest

from search.naming.renaming import RenamingError, modules_of, rename_imports

ROOT = Path(__file__).resolve().parents[3]
RENAMES = {"search": "ours", "kernels": "dsl.kernels"}
MODULES = {"search.store", "search.evaluator.host", "kernels.tuning"}


@pytest.mark.parametrize(
    ("source", "renamed"),
    [
        ("from search.store import ledger\n", "from ours.store import ledger\n"),
        ("from search import (\n    asking,\n    search,\n)\n", "from ours import (\n    asking,\n    search,\n)\n"),
        ("import search.store as store\n", "import ours.store as store\n"),
        ("import os, kernels.tuning as t\n", "import os, dsl.kernels.tuning as t\n"),
        ("if x: import search.store as s; y = search\n", "if x: import ours.store as s; y = search\n"),
        ("def f():\n    from kernels import tuning\n", "def f():\n    from dsl.kernels import tuning\n"),
        ('HOST = ("-m", "search.evaluator.host")\n', 'HOST = ("-m", "ours.evaluator.host")\n'),
        ("place = 'search.store:migrations'\n", "place = 'ours.store:migrations'\n"),
    ],
)
def test_an_import_and_a_modules_name_are_renamed(source, renamed):
    assert rename_imports(source, RENAMES, MODULES) == renamed


@pytest.mark.parametrize(
    "source",
    [
        "from . import search\n",
        "from .search import store\n",
        "from research.search import kernels\n",
        "split = 'search'\n",
        "path = 'search.db'\n",
        "'''See search.store.'''\n",
        "# from search import store\n",
        "f(a, search, kernels)\n",
        "def f():\n    yield from search\n",
        "raise search from kernels\n",
        "import os\nx = (kernels, search)\n",
    ],
)
def test_nothing_else_is(source):
    assert rename_imports(source, RENAMES, MODULES) == source


def test_what_a_bare_import_binds_would_be_lost_and_is_refused():
    with pytest.raises(RenamingError, match=r"^line 2: `import search\.store` binds"):
        rename_imports("import os\nimport search.store\n", RENAMES)


def test_modules_are_found_with_their_packages():
    found = modules_of(ROOT, "kernels")
    assert {"kernels.tuning", "kernels.host", "kernels.host.cpu"} <= found
    assert "kernels" not in found


def test_it_needs_nothing_beside_it():
    """The build reads it where neither this project nor anything of others is installed."""
    tree = ast.parse(Path(ROOT, "search", "naming", "renaming.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "typing", "collections.abc", "pathlib"}
