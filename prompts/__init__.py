"""What agents are told: Markdown templates with `$name` for what is filled in."""

from pathlib import Path
from string import Template

_FOLDER = Path(__file__).parent


def prompt(name: str, **values: str) -> str:
    """Fill the template `name`.md. Raises KeyError for a value that the template wants and does not get."""
    return Template((_FOLDER / f"{name}.md").read_text(encoding="utf-8")).substitute(values)
