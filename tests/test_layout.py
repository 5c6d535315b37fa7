"""The house: who may import whom, that there are no circles, and that no folder is a heap.

Kept by reading every module's syntax tree, imports within functions and those that only type checkers read included.
Nothing is imported here.
"""

import ast
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("search", "vortex_dsl", "kernels", "prompts")
MODULES = sorted(path for package in OURS for path in (ROOT / package).rglob("*.py"))
ZOO = ROOT / "vortex_dsl" / "zoo"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FILES = 16
NARROW = {"vortex_dsl": 12, "search/agents": 12}  # and every folder within

# The chain: each place imports only what stands before it. A name without a folder of its own is a file.
CHAINS = {
    "vortex_dsl": (
        ("errors", "values", "storage", "node", "tunables"),
        ("ops",),
        ("graph",),
        ("analysis",),
        ("passes",),
        ("frontend",),
        ("codegen",),
        ("backends",),
        ("serving",),
        ("api",),
    ),
    "vortex_dsl.serving": (
        ("config", "metrics", "shapes"),
        ("pages",),
        ("layers",),
        ("triton",),
        ("backend", "backend_mla"),
        ("cpu_platform", "extension", "plugin", "rehearsal", "scheduler", "selected"),
    ),
    "search.agents": (
        ("drawing",),
        ("changing",),
        (
            "answers",
            "baselines",
            "bounds",
            "breed",
            "credit",
            "grammar",
            "llm",
            "look",
            "seeds",
            "shown",
            "simplifying",
            "tuning",
        ),
    ),
}


@dataclass(frozen=True)
class Rule:
    """Who may not import what. Prefixes of dotted names; `but` are the exceptions among the importers."""

    importers: tuple[str, ...]
    imported: tuple[str, ...]
    but: tuple[str, ...] = ()

    def broken_by(self, module: str, imported: str) -> bool:
        return _within(module, self.importers) and not _within(module, self.but) and _within(imported, self.imported)


CORE = tuple(f"vortex_dsl.{name}" for group in CHAINS["vortex_dsl"] for name in group if name != "serving")
RULES = (
    Rule(("kernels",), ("search", "vortex_dsl", "prompts")),
    Rule(("vortex_dsl", "prompts"), ("search",)),
    Rule(CORE, ("vortex_dsl.serving",)),
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
        but=(
            *("vortex_dsl.serving", "search.evaluator.engine", "search.evaluator.host", "search.plugin.check"),
            *("search.evaluator.fidelity.forcing", "search.evaluator.prefill.replay"),
        ),
    ),
    Rule(OURS, ("numba",), but=("kernels",)),
    Rule(OURS, ("triton",), but=("kernels", "vortex_dsl.backends.triton_backend", "vortex_dsl.codegen.emitted")),
    Rule(OURS, ("ray", "lm_eval"), but=("search.evaluator",)),
    Rule(OURS, ("alembic",), but=("search.store",)),
    Rule(OURS, ("sqlalchemy",), but=("search.store", "search.dash")),
    Rule(OURS, ("openai",), but=("search.agents",)),
    Rule(OURS, ("optuna",), but=("search.agents",)),
    Rule(OURS, ("matplotlib",), but=("search.plots",)),
    Rule(OURS, ("mcp",), but=("search.outside.server",)),
    Rule(OURS, ("uvicorn",), but=("search.outside.server", "search.dash.serving")),
    Rule(OURS, ("fastapi", "starlette"), but=("search.dash", "search.outside.server")),
    Rule(OURS, ("search.dash",), but=("search.dash", "search.commands.dash")),
)
# Folders whose parts, files and folders, import each other in circles: a list that may only become shorter.
KNOTS = ("search", "search.evaluator")
# What `import X` may not load at the top of a module: each costs seconds or belongs to one place.
HEAVY = (
    "torch",
    "vllm",
    "ray",
    "sqlalchemy",
    "alembic",
    "openai",
    "lm_eval",
    "transformers",
    "optuna",
    "triton",
    "mcp",
    "matplotlib",
)
LIGHT = (
    "search.cli", "search.commands", "search.config", "search.contracts", "search.records", "search.doctor",
    "search.ranking.leaderboard", "search.plots", "search.plugin.export", "search.plugin.verify", "search.store.errors",
    "vortex_dsl.__init__", "vortex_dsl.errors", "vortex_dsl.values", "vortex_dsl.tunables", "vortex_dsl.frontend",
    "vortex_dsl.api", "vortex_dsl.backends.contract", "vortex_dsl.analysis", "vortex_dsl.graph", "vortex_dsl.passes",
    "vortex_dsl.serving.plugin",
)  # fmt: skip
DRAWN_IN_THE_DESIGN = (
    "vortex_dsl.frontend.trace",
    "search.dash.site",
)  # what it does has this name, and its folder is never on sys.path


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


@dataclass(frozen=True)
class Module:
    """What is asked of a module's text: it is parsed once for all tests, and the tree is not kept.

    `imports` are those anywhere in it, `at_top` those that run when it is imported; `long` are its functions of too
    many lines; `by_locale` are the lines that read or write text by an encoding that the machine chooses.
    """

    num_lines: int
    imports: tuple[str, ...]
    at_top: tuple[str, ...]
    long: tuple[str, ...]
    by_locale: tuple[int, ...]


@cache
def _read(path: Path) -> Module:
    text = path.read_text("utf-8")
    tree, package = ast.parse(text), _package(path)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f.name for f in functions if f.end_lineno - f.lineno + 1 > MAX_FUNCTION_LINES]
    at_top = _imports(_run_when_imported(tree), package)
    by_locale = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call) and _leaves_the_encoding_open(n)]
    return Module(text.count("\n"), tuple(_imports(tree, package)), tuple(at_top), tuple(long), tuple(by_locale))


def _leaves_the_encoding_open(call: ast.Call) -> bool:
    name, given = getattr(call.func, "attr", ""), {each.arg for each in call.keywords}
    if name in ("read_text", "write_text"):
        return len(call.args) < (1 if name == "read_text" else 2) and "encoding" not in given
    if name == "open":
        mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
        return isinstance(mode, str) and bool(re.fullmatch("[rwax]t?", mode)) and "encoding" not in given
    return name in ("run", "Popen", "check_output") and "text" in given and "encoding" not in given


def _broken(module: str, imported: str) -> bool:
    return any(rule.broken_by(module, imported) for rule in RULES)


@cache
def _arrows() -> dict[str, frozenset[str]]:
    """Give for each of our modules the modules of ours that it imports, wherever in its text. Packages by folder."""
    modules = {_name(path).removesuffix(".__init__"): path for path in MODULES if ZOO not in path.parents}

    def module_of(imported: str) -> str | None:
        return next((name for name in (imported, imported.rpartition(".")[0]) if name in modules), None)

    found = {}
    for name, path in modules.items():
        targets = {module_of(imported) for imported in _read(path).imports}
        found[name] = frozenset(target for target in targets - {name} if target is not None)
    return found


def _circles(arrows: dict[str, frozenset[str]]) -> list[list[str]]:
    """Give the sets of names from which each other is reached."""

    @cache
    def reached(start: str) -> frozenset[str]:
        seen, waiting = set(), [*arrows.get(start, ())]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += arrows.get(name, ())
        return frozenset(seen)

    rings = {frozenset(other for other in reached(name) if name in reached(other)) for name in arrows}
    return sorted(sorted(ring) for ring in rings if ring)


def _part(folder: str, module: str) -> str:
    """Give the file or folder right below a folder to which a module belongs; nothing for one of another place."""
    return module.removeprefix(f"{folder}.").split(".")[0] if module.startswith(f"{folder}.") else ""


def _between_parts(folder: str, arrows: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Give which parts of a folder import which others of it."""
    found: dict[str, set[str]] = {}
    for name, targets in arrows.items():
        if mine := _part(folder, name):
            found.setdefault(mine, set()).update(_part(folder, target) for target in targets)
    return {mine: frozenset(theirs - {mine, ""}) for mine, theirs in found.items()}


def _rank(chain: str, module: str) -> int | None:
    """Give where a module stands in a chain; None for one of another place."""
    if not module.startswith(f"{chain}."):
        return None
    name = module.removeprefix(f"{chain}.").split(".")[0]
    return next((i for i, group in enumerate(CHAINS[chain]) if name in group), None)


def _classes(path: Path) -> list[str]:
    return [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]


def test_a_noun_of_the_search_means_one_thing():
    """What is passed between its parts has a name of its own, what people drive, and errors. Tables mirror them."""
    modules = [path for path in (ROOT / "search").rglob("*.py") if path != ROOT / "search" / "store" / "models.py"]
    number = Counter(name for path in modules for name in _classes(path))
    nouns = {"Campaign", *_classes(ROOT / "search" / "records.py"), *(name for name in number if name[-5:] == "Error")}
    assert {name for name in nouns if number[name] != 1} == set()


def test_there_is_something_to_check():
    assert len(MODULES) > 40
    assert sum(map(len, _arrows().values())) > 400


def test_there_is_no_circle_of_files():
    assert _circles(_arrows()) == []


def test_a_circle_is_seen():
    ring = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("a"), "d": frozenset("a")}
    assert _circles(ring) == [["a", "b", "c"]]


@pytest.mark.parametrize("folder", sorted({path.parent.relative_to(ROOT).as_posix() for path in MODULES}))
def test_the_parts_of_a_folder_import_each_other_in_no_circle(folder):
    """A ring of folders is none of files: one file of each is enough for it."""
    name = folder.replace("/", ".")
    assert bool(_circles(_between_parts(name, _arrows()))) == (name in KNOTS)


def test_a_circle_of_folders_is_seen():
    arrows = {"a.b.one": frozenset({"a.c.two"}), "a.c.three": frozenset({"a.b.four", "d.e"}), "d.e": frozenset({"a.b"})}
    assert _circles(_between_parts("a", arrows)) == [["b", "c"]]
    assert _circles(_between_parts("a.b", arrows)) == []


@pytest.mark.parametrize("chain", CHAINS)
def test_each_place_imports_only_what_stands_before_it(chain):
    upwards = [
        (name, target)
        for name, targets in _arrows().items()
        for target in targets
        if (mine := _rank(chain, name)) is not None and (theirs := _rank(chain, target)) is not None and theirs > mine
    ]
    assert upwards == []


@pytest.mark.parametrize("chain", CHAINS)
def test_every_file_and_folder_of_a_chain_has_its_place(chain):
    folder = ROOT.joinpath(*chain.split("."))
    there = {path.stem for path in folder.iterdir() if path.suffix == ".py" or list(path.glob("*.py"))}
    placed = {name for group in CHAINS[chain] for name in group}
    assert there - {"__init__", "zoo"} == placed


def test_no_folder_is_a_heap():
    files = [*MODULES, *(ROOT / "tests").rglob("*.py")]
    number = Counter(path.parent.relative_to(ROOT).as_posix() for path in files if ZOO not in path.parents)
    limits = {
        name: next((n for top, n in NARROW.items() if f"{name}/".startswith(f"{top}/")), MAX_FILES) for name in number
    }
    assert {name: n for name, n in number.items() if n > limits[name]} == {}


def test_tests_mirror_the_tree():
    """A folder of tests stands where a folder of ours does, or a file with much to test."""
    tests = ROOT / "tests"
    folders = {path.parent.relative_to(tests) for name in OURS for path in (tests / name).rglob("*.py")}
    strays = {
        str(path) for path in folders if not (ROOT / path).is_dir() and not (ROOT / path).with_suffix(".py").exists()
    }
    assert len(folders) > 10
    assert strays == set()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_what_its_place_allows(path):
    assert [name for name in _read(path).imports if _broken(_name(path), name)] == []


def test_a_forbidden_import_is_seen():
    relative = ast.parse("from ..evaluator import pool")
    assert _imports(relative, ["search", "agents"]) == ["search.evaluator.pool"]
    assert _broken("search.agents.llm", "search.evaluator.pool")
    assert _broken("vortex_dsl.analysis.cost", "search.records")
    assert _broken("vortex_dsl.backends.tape.machine", "vortex_dsl.serving.pages.pages.Pages")
    assert _broken("vortex_dsl.backends.tape.machine", "numba.njit")
    assert _broken("search.loop", "sqlalchemy.orm.Session")
    assert not _broken("search.store.ledger", "sqlalchemy.orm.Session")


@pytest.mark.parametrize("path", [p for p in MODULES if _within(_name(p), LIGHT)], ids=_name)
def test_a_light_module_imports_nothing_heavy_at_its_top(path):
    assert [name for name in _read(path).at_top if _within(name, HEAVY)] == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_file_is_read_as_the_machine_happens_to_write_text(path):
    assert _read(path).by_locale == ()


def test_what_is_read_by_the_locale_is_seen():
    lines = ["a.read_text()", "a.write_text(b)", "a.open('w')", "subprocess.run(a, text=True)"]
    lines += ["a.read_text('utf-8')", "a.write_text(b, encoding='utf-8')", "a.open('rb')", "subprocess.run(a)"]
    calls = [each.value for each in ast.parse("\n".join(lines)).body if isinstance(each, ast.Expr)]
    assert [_leaves_the_encoding_open(each) for each in calls if isinstance(each, ast.Call)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("path", [p for p in MODULES if _name(p) not in DRAWN_IN_THE_DESIGN], ids=_name)
def test_no_module_bears_a_name_of_the_standard_library(path):
    named = path.parent.name if path.name == "__init__.py" else path.stem
    assert named not in sys.stdlib_module_names


def test_kernels_is_a_namespace_folder():
    assert not (ROOT / "kernels" / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_files_and_functions_stay_readable(path):
    assert _read(path).num_lines <= MAX_FILE_LINES
    assert _within(_name(path), ("kernels",)) or _read(path).long == ()
