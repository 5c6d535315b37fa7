"""What an export is called: all names carry the program's digest, so that two exports live side by side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """The names of an export, by its digest."""

    digest: str

    @property
    def package(self) -> str:
        """Name the Python package that holds the runtime."""
        return f"vortex_{self.digest[:12]}"

    @property
    def plugin(self) -> str:
        """Name the entry points; what VORTEX_PLUGIN selects."""
        return f"vortex-{self.digest[:12]}"

    @property
    def distribution(self) -> str:
        """Name the wheel."""
        return f"vortex-plugin-{self.digest[:12]}"

    @property
    def entry_points(self) -> dict[str, str]:
        """Give what vLLM loads under the plugin's name, by group."""
        return {
            "vllm.general_plugins": f"{self.package}.serving.plugin:register",
            "vllm.platform_plugins": f"{self.package}.serving.plugin:platform",
        }
