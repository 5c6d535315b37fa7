"""Write the pages of docs/ that repeat what the code says: `python docs/generate.py`. A test compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
BAR = "\\|"  # inside a table


def pages() -> dict[str, str]:
    """Give the generated pages by file name."""
    return {"commands.md": commands_page(), "operations.md": operations_page()}


def commands_page() -> str:
    """Tell every command with its options, from the command line itself."""
    import typer

    from search.cli import app
    from search.commands.exits import ExitCode

    parts = ["# Commands", "Written by `docs/generate.py` from the command line itself."]
    codes = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
    parts.append(
        f"Data goes to stdout, everything else to stderr. Exit codes: {codes}. `--debug`, anywhere, or "
        "`VORTEX_DEBUG=1` shows the traceback of an error."
    )
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        parts += [f"## vortex {command.name}", command.help.strip(), _parameters(command)]
    return "\n\n".join(parts) + "\n"


def _parameters(command: Any) -> str:
    rows = ["| | meaning | default |", "|---|---|---|"]
    for param in command.params:
        if param.name != "help":
            names = param.opts if param.param_type_name == "option" else []
            shown = ", ".join(f"`{name}`" for name in names) + (f" `{param.metavar}`" if param.metavar else "")
            rows.append(f"| {shown.strip()} | {param.help} | {_default(param)} |")
    return "\n".join(rows)


def _default(param: Any) -> str:
    given = param.default
    return f"`{given}`" if isinstance(given, int | str) and not isinstance(given, bool) and given != "" else ""


def operations_page() -> str:
    """Tell every operation of the language, from the operation table."""
    from vortex_dsl.ops import OPS

    parts = ["# Operations", "Written by `docs/generate.py` from the operation table, `vortex_dsl/ops`."]
    for kind in dict.fromkeys(op.kind for op in OPS.values()):
        ops = [op for op in OPS.values() if op.kind is kind]
        rows = [_operation(op) for op in ops]
        parts.append(f"## {kind.value.capitalize()}s\n\n| | meaning |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def _operation(op: Any) -> str:
    from vortex_dsl.ops import OpKind

    written = op.name if op.kind is OpKind.OPERATOR else op.signature
    return f"| `{written}` | {op.doc.replace('|', BAR)} |"


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
