"""What decides a campaign: few settings, frozen, as canonical JSON in the ledger."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from search.records import Stage, Workload

LAG = 8  # a step sees the records of steps up to its own minus this; so up to eight candidates run at a time

SEEDS = (
    "dense",
    "streaming",
    "random_pages",
    "oracle_mass",
    "centroid",
    "centroid_gqa",
    "quest",
    "quest_sub",
    "ball",
    "mass_lse",
    "twilight",
    "value_gated",
)
# Steps go round this list: most of them to the grammar, and each baseline always has its place.
PROPOSERS = ("grammar", "grammar", "greedy", "grammar", "grammar", "best_of_n", "grammar", "random")

WORKLOADS = (
    Workload(Stage.CHECK, num_tokens=8000, num_sequences=1),
    Workload(Stage.ORACLE, num_tokens=200, num_sequences=2),
    Workload(Stage.RECALL, num_tokens=2000, num_sequences=16),
    Workload(Stage.PROBE, num_tokens=2000, num_sequences=48),
    Workload(Stage.SERVE, num_tokens=8000, num_sequences=8, repeats=4),
)


class ConfigError(ValueError):
    """A setting that is unknown, of the wrong type or out of range. The message says which."""


@dataclass(frozen=True)
class CampaignConfig:
    """The settings of one campaign. Two campaigns with equal settings and measurements propose the same.

    `proposers` take the steps in turn; a name that stands twice gets twice as many. `seed_pages` is the small
    budget that makes the seeds comparable, `ceiling_pages` the large one of the oracle. `serve_floor` is the probe
    accuracy that a candidate needs to be timed. `evaluation_seed` draws the problems: campaigns that share it
    share their measurements. `group` and `head_dim` are those of `model`.
    """

    seed: int = 0
    num_candidates: int = 100
    proposers: tuple[str, ...] = PROPOSERS
    model: str = ""
    group: int = 2
    head_dim: int = 64
    seeds: tuple[str, ...] = SEEDS
    seed_pages: int = 4
    ceiling_pages: int = 64
    workloads: tuple[Workload, ...] = WORKLOADS
    serve_floor: float = 0.8
    evaluation_seed: int = 0
    max_dollars: float | None = None

    def __post_init__(self) -> None:
        _require(self.num_candidates >= 0, f"num_candidates must not be negative, but is {self.num_candidates}")
        _require(bool(self.proposers), "proposers is empty; name at least one, for example 'grammar'")
        _require(self.seed_pages >= 1, f"seed_pages must be at least 1, but is {self.seed_pages}")
        _require(0 <= self.serve_floor <= 1, f"serve_floor must lie between 0 and 1, but is {self.serve_floor}")
        stages = [workload.stage for workload in self.workloads]
        _require(stages == list(Stage), f"workloads must name each stage once in order, but name {stages}")

    def workload(self, stage: Stage) -> Workload:
        """Give what a stage runs on."""
        return next(workload for workload in self.workloads if workload.stage is stage)

    @property
    def num_tokens(self) -> int:
        """The context length that proposers design for."""
        return self.workload(Stage.PROBE).num_tokens

    def to_json(self) -> str:
        """Give the canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> CampaignConfig:
        """Read the JSON that `to_json` writes; missing keys take their default.

        Raises ConfigError for unknown keys and for values of the wrong type.
        """
        values = _checked(cls, _parsed(text))
        if "workloads" in values:
            values["workloads"] = tuple(_workload(each) for each in values["workloads"])
        return cls(**values)


def model_shape(folder: Path) -> tuple[int, int]:
    """Read a model's query heads per KV head and its head dimension from its `config.json`.

    Raises ConfigError when the folder holds no such file or the file does not say.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{folder}: no config.json here; give a folder with a model as transformers saves it")
    config = _model_config(path)
    heads = _positive(path, config, "num_attention_heads")
    kv_heads = _positive(path, {"num_key_value_heads": heads} | config, "num_key_value_heads")
    _require(heads % kv_heads == 0, f"{path}: {heads} query heads are no multiple of {kv_heads} KV heads")
    if "head_dim" in config:
        return heads // kv_heads, _positive(path, config, "head_dim")
    return heads // kv_heads, max(1, _positive(path, config, "hidden_size") // heads)


def _model_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: this is not JSON: {error}") from error
    _require(isinstance(config, dict), f"{path}: this is no JSON object, so the attention shape is unknown")
    assert isinstance(config, dict)
    return {name: value for name, value in config.items() if value is not None}


def _positive(path: Path, config: dict[str, Any], name: str) -> int:
    _require(name in config, f"{path}: no '{name}' in it, so the attention shape is unknown")
    value = config[name]
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    _require(whole, f"{path}: {name} is {value!r}, but must be a whole number above 0")
    return int(value)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the settings are not JSON: {error}") from error


def _workload(values: object) -> Workload:
    checked = _checked(Workload, values)
    for name in ("stage", "num_tokens", "num_sequences"):
        _require(name in checked, f"a workload does not say its {name}: {values}")
    stages = [stage.value for stage in Stage]
    _require(checked["stage"] in stages, f"there is no stage {checked['stage']!r}; name one of {', '.join(stages)}")
    return Workload(**{**checked, "stage": Stage(checked["stage"])})


def _checked(kind: Any, values: object) -> dict[str, Any]:
    """Give a JSON object's values with lists as tuples, after comparing its keys and types with a dataclass's."""
    _require(isinstance(values, dict), f"settings of {kind.__name__} must be a JSON object, but are {values!r}")
    assert isinstance(values, dict)
    types = {each.name: str(each.type) for each in fields(kind)}
    for name, value in values.items():
        _require(name in types, f"{kind.__name__} has no setting {name!r}; it has {', '.join(sorted(types))}")
        _require(_fits(value, types[name]), f"{name} of {kind.__name__} must be {types[name]}, but is {value!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _fits(value: object, annotation: str) -> bool:
    if annotation.startswith("tuple[str"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if annotation.startswith("tuple"):
        return isinstance(value, list)
    if value is None:
        return annotation.endswith("None")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation.startswith("float"):
        return number
    return (number and isinstance(value, int)) if annotation == "int" else isinstance(value, str)
