"""What a wheel holds: our packages, with those whose names others bear as well under names of our own.

`import kernels` is Hugging Face's, which transformers imports; `search` and `prompts` are anybody's. So a wheel has two
packages, `vortex_dsl` and `vortex_search`, and their sources import each other by these names. The repository, and an
editable install of it, keep the folders' names: `vortex doctor` tells where somebody else's are found in their place.
"""

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOMES = {
    "vortex_dsl": "vortex_dsl",
    "kernels": "vortex_dsl.kernels",
    "search": "vortex_search",
    "prompts": "vortex_search.prompts",
}
RENAMING = Path("search", "naming", "renaming.py")


class WheelOfOurNames(BuildHookInterface[Any]):
    """Writes the packages as a wheel holds them into a folder, which the wheel is made of."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hand hatchling the folder; an editable install is the repository itself."""
        if version == "editable":
            return
        self._folder = tempfile.mkdtemp(prefix="vortex-wheel-")
        write_packages(Path(self.root), Path(self._folder))
        build_data["force_include"] |= {str(each): each.name for each in Path(self._folder).iterdir()}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the folder."""
        if version != "editable":
            shutil.rmtree(self._folder)


def write_packages(root: Path, folder: Path) -> None:
    """Write the packages below `folder`, with the names that they have there. Raises ValueError: one that cannot."""
    spec = importlib.util.spec_from_file_location("vortex_renaming", root / RENAMING)
    assert spec is not None
    assert spec.loader is not None
    renaming = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(renaming)
    renames = {name: home for name, home in HOMES.items() if name != home}
    modules = {module for name in renames for module in renaming.modules_of(root, name)}
    for name, home in HOMES.items():
        target = folder.joinpath(*home.split("."))
        shutil.copytree(root / name, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for path in folder.rglob("*.py"):
        try:
            text = renaming.rename_imports(path.read_text("utf-8"), renames, modules)
        except renaming.RenamingError as error:
            raise ValueError(f"{path.relative_to(folder)}, {error}") from None
        path.write_text(text, "utf-8")
