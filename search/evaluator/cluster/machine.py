"""What a machine would measure with, and in what two of them differ: figures of unlike ones share no row."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from search.evaluator.cluster.placement import UNKNOWN_GPU
from search.kinds.wished import CPU

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Fields that must be the same on all machines of a cluster, and those that must be so among machines of one kind alone.
EVERYWHERE = {"commit": "the commit", "python": "Python"}
OF_A_KIND = {"torch": "torch", "vllm": "vLLM", "driver": "driver", "device": "device"}


@dataclass(frozen=True)
class Machine:
    """A machine's software and device. `kind`: as Ray names its GPU, or CPU; `models`: digests by name."""

    kind: str
    commit: str  # and the digest of the code as it is installed
    python: str
    torch: str
    vllm: str
    driver: str
    device: str
    models: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write it down for others."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes | str) -> Machine:
        """Read what `to_json` wrote. Raises ValueError."""
        read = json.loads(text)
        if not isinstance(read, dict) or set(read) != set(cls.__dataclass_fields__):
            raise ValueError("no description of a machine by this version of the project")
        return cls(**read)

    def differences(self, other: Machine) -> list[str]:
        """Say in what this machine differs from another so that both cannot serve one cluster, each by its name.

        The versions of vLLM are compared across kinds too, its builds for a CPU and a GPU are not.
        """
        names = EVERYWHERE | (OF_A_KIND if self.kind == other.kind else {})
        told = [
            f"{name} is {getattr(self, key)} here and {getattr(other, key)} there"
            for key, name in names.items()
            if getattr(self, key) != getattr(other, key)
        ]
        ours, theirs = (each.vllm.rpartition(" ")[2].partition("+")[0] for each in (self, other))
        if self.kind != other.kind and ours != theirs:
            told.append(f"vLLM is {self.vllm} here and {other.vllm} there")
        for name, digest in other.models.items():
            if self.models.get(name) != digest:
                told.append(f"the model {name} is {self.models.get(name, 'missing')} here and {digest} there")
        return told


def this_machine(models: Sequence[str] = ()) -> Machine:
    """Describe this machine, with the digests of some models. Raises ModelError for one that is not to be had here."""
    from search.evaluator.identity import environment
    from search.evaluator.models import model_digest, model_folder

    found = environment("")
    return Machine(
        kind=kind_here(),
        commit=found.commit,
        python=found.python,
        torch=found.torch,
        vllm=found.vllm,
        driver=found.driver,
        device=found.device,
        models={name: model_digest(model_folder(name)) for name in models},
    )


def kind_here() -> str:
    """Name what this machine computes on as Ray would label it: its GPU, or CPU."""
    from search.evaluator.identity import has_gpu

    if not has_gpu():
        return CPU
    from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager

    return NvidiaGPUAcceleratorManager.get_current_node_accelerator_type() or UNKNOWN_GPU
