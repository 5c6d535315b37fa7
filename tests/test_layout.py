"""The import rules of the design, kept by reading every module's syntax tree. Nothing is imported here."""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("search", "vortex_dsl", "kernels", "prompts")
MODULES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Rule:
    """Who may not import what. Prefixes of dotted names; `but` are the exceptions among the importers."""

    importers: tuple[str, ...]
    imported: tuple[str, ...]
    but: tuple[str, ...] = ()

    def broken_by(self, module: str, imported: str) -> bool:
        return _within(module, self.importers) and not _within(module, self.but) and _within(imported, self.imported)


RULES = (
    Rule(("kernels",), ("search", "vortex_dsl", "prompts")),
    Rule(("vortex_dsl", "prompts"), ("search",)),
    Rule(("search.agents",), ("search.evaluator",)),
    Rule(("search.evaluator",), ("search.agents",)),
    Rule(("search.evaluator",), ("search.store",)),
    Rule(("search.store",), ("search.evaluator", "search.agents")),
    Rule(OURS, ("search.cli", "search.web"), but=("search.cli",)),
    Rule(OURS, ("search.commands",), but=("search.cli", "search.commands")),
    Rule(OURS, ("typer",), but=("search.cli", "search.commands")),
    Rule(
        OURS,
        ("vllm",),
        but=("vortex_dsl.serving", "search.evaluator.engine", "search.evaluator.host", "search.verify_child"),
    ),
    Rule(OURS, ("ray", "lm_eval"), but=("search.evaluator",)),
    Rule(OURS, ("sqlalchemy", "alembic"), but=("search.store",)),
    Rule(OURS, ("openai",), but=("search.agents",)),
    Rule(OURS, ("optuna",), but=("search.agents",)),
)
# What `import X` may not load at the top of a module: each costs seconds or belongs to one place.
HEAVY = ("torch", "vllm", "ray", "sqlalchemy", "alembic", "openai", "lm_eval", "transformers", "optuna", "triton")
LIGHT = (
    "search.cli", "search.commands", "search.config", "search.contracts", "search.records", "search.doctor",
    "search.leaderboard", "search.export", "search.verify", "search.store.errors", "vortex_dsl.__init__",
    "vortex_dsl.errors", "vortex_dsl.program", "vortex_dsl.load", "vortex_dsl.trace", "vortex_dsl.serving.plugin",
)  # fmt: skip


DRAWN_IN_THE_DESIGN = ("vortex_dsl.trace",)  # its own layout names this file; no folder of it is ever on sys.path


def _within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _package(path: Path) -> list[str]:
    return list(path.relative_to(ROOT).parent.parts)


def _imports(tree: ast.AST, package: list[str]) -> list[str]:
    """Give the absolute names that a tree imports; `from a import b` gives `a.b`, which covers a module b too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{stem}.{alias.name}" for alias in node.names]
    return found


def _run_when_imported(tree: ast.Module) -> ast.Module:
    """Give a module without function bodies and without what only type checkers read."""
    kept = [n for n in tree.body if not isinstance(n, ast.FunctionDef) and not _is_type_checking(n)]
    return ast.Module(body=[n for n in kept if not isinstance(n, ast.ClassDef)], type_ignores=[])


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _broken(module: str, imported: str) -> bool:
    return any(rule.broken_by(module, imported) for rule in RULES)


def test_there_is_something_to_check():
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_what_its_place_allows(path):
    imports = _imports(ast.parse(path.read_text()), _package(path))
    assert [name for name in imports if _broken(_name(path), name)] == []


def test_a_forbidden_import_is_seen():
    relative = ast.parse("from ..evaluator import pool")
    assert _imports(relative, ["search", "agents"]) == ["search.evaluator.pool"]
    assert _broken("search.agents.llm", "search.evaluator.pool")
    assert _broken("vortex_dsl.cost", "search.records")
    assert _broken("search.loop", "sqlalchemy.orm.Session")
    assert not _broken("search.store.ledger", "sqlalchemy.orm.Session")


@pytest.mark.parametrize("path", [p for p in MODULES if _within(_name(p), LIGHT)], ids=_name)
def test_a_light_module_imports_nothing_heavy_at_its_top(path):
    imports = _imports(_run_when_imported(ast.parse(path.read_text())), _package(path))
    assert [name for name in imports if _within(name, HEAVY)] == []


@pytest.mark.parametrize("path", [p for p in MODULES if _name(p) not in DRAWN_IN_THE_DESIGN], ids=_name)
def test_no_module_bears_a_name_of_the_standard_library(path):
    named = path.parent.name if path.name == "__init__.py" else path.stem
    assert named not in sys.stdlib_module_names


def test_kernels_is_a_namespace_folder():
    assert not (ROOT / "kernels" / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_files_and_functions_stay_readable(path):
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    if _within(_name(path), ("kernels",)):
        return
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f.name for f in functions if f.end_lineno - f.lineno + 1 > MAX_FUNCTION_LINES]
    assert long == []
