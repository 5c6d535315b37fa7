"""What a wheel says, typed and bounded: its `exported.json`, as far as verification reads it, and its check's reply."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.records import Stage, Workload

MAX_SEQUENCES, MAX_TOKENS, MAX_PROMPT_TOKENS = 4096, 1 << 20, 1 << 23
MAX_HEADS, MAX_CHANNELS, MAX_LAYERS = 1024, 4096, 1024
MAX_SEED = 1 << 63
MAX_ANSWERS = 1 << 16  # of the screen it is what was chosen, not a digest

Word = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class _Part(BaseModel):
    """Fields of these types and no others; what else is said is not read."""

    model_config = ConfigDict(strict=True, frozen=True)


class Judged(_Part):
    """The shape for which a program was judged."""

    group: Annotated[int, Field(ge=1, le=MAX_HEADS)]
    head_dim: Annotated[int, Field(ge=1, le=MAX_CHANNELS)]


class Asked(_Part):
    """The workload by whose answers a wheel is verified (`search.records.Workload`)."""

    stage: Literal[Stage.PROBE, Stage.SERVE]
    num_tokens: Count
    num_sequences: Annotated[int, Field(ge=1, le=MAX_SEQUENCES)]
    split: Literal["search", "held_out"]
    repeats: Count
    lengths: Annotated[tuple[Count, ...], Field(max_length=MAX_SEQUENCES)]
    num_decoded: Annotated[int, Field(ge=0, le=MAX_TOKENS)]
    source: Annotated[str, Field(pattern=r"^((text|library):[0-9a-f]{16})?$")]
    ratio: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self.workload.num_tokens * self.num_sequences > MAX_PROMPT_TOKENS:
            raise ValueError(f"its prompts have more than {MAX_PROMPT_TOKENS:,} tokens")
        return self

    @property
    def workload(self) -> Workload:
        """Give it as stages take it. Raises ValueError where no stage would."""
        return Workload(**dict(self))


class Key(_Part):
    """Of an evaluation: which stage, on which model, by which version of the evaluator."""

    stage: Stage
    model_digest: Word
    evaluator_version: Word
    seed: Annotated[int, Field(ge=-MAX_SEED, lt=MAX_SEED)]


class Measured(_Part):
    """A figure."""

    name: Word
    value: float


class Recorded(_Part):
    """An evaluation; `answers`: the digest of what was answered, empty where nothing was kept."""

    key: Key
    answers: Annotated[str, Field(max_length=MAX_ANSWERS)]
    measurements: tuple[Measured, ...]


class Card(_Part):
    """What a wheel says of itself; `search.plugin.card` writes it."""

    name: Word
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    text: str
    values: dict[Word, int | float | str]
    shape: Judged
    num_layers: Annotated[int, Field(ge=1, le=MAX_LAYERS)]
    model: Word
    runtime: Word
    workload: Asked
    evaluations: tuple[Recorded, ...]


class Finding(_Part):
    """What a wheel's own check looked at, what it saw, and whether it finds that right."""

    what: str
    seen: str
    is_right: bool


class Told(_Part):
    """What a wheel's own check answers (`search.plugin.check.Checked`)."""

    findings: Annotated[list[Finding], Field(max_length=32)]
    tokens: list[list[int]]
    pages_attended: Annotated[int, Field(ge=0)]
    pages_dense: Annotated[int, Field(ge=0)]
