"""One engine with the program that it serves at the moment: what the stages need of it, within the engine's process."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.guards import SLACK_PAGES, Done, claimed_pages
from search.records import Measurement, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from search.evaluator.engine import Engine, EngineSettings, Values
    from search.evaluator.guards import Decoded
    from vortex_dsl import Program
    from vortex_dsl.graph.graph import Graph
    from vortex_dsl.serving.shapes import ModelShape

PREFILLED = "prefilled"  # first of the keys under which a session keeps what lies in the prefix cache


class RefusedError(Exception):
    """An evaluation that ends with a status other than OK."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class Session:
    """Holds the engine. `sparse` hosts programs in turn; else it is vLLM's own backend."""

    def __init__(self, role: str) -> None:
        self.sparse = role == "sparse"
        self._engine: Engine | None = None
        self._served_program: tuple[str, Values] | None = None
        self._kept: dict[tuple[object, ...], Any] = {}

    @property
    def engine(self) -> Engine:
        """The running engine; `start` must have been called."""
        if self._engine is None:
            raise RefusedError(Status.INFRASTRUCTURE, "the engine has not been started; call 'start' first")
        return self._engine

    def start(self, values: Sequence[Sequence[Any]] = (), **settings: Any) -> dict[str, Any]:
        """Start the engine and tell where it runs. values: of the program that it starts with, if any."""
        from search.evaluator.engine import Engine, EngineSettings
        from search.evaluator.identity import environment

        given = named(values)
        self._engine = Engine(_on_card(EngineSettings(sparse=self.sparse, values=given, **settings)))
        if self._engine.settings.program:
            self._served_program = (self._engine.settings.program, given)
        return {"environment": asdict(environment(self._engine.settings.dtype)), "kv_tokens": self._engine.kv_tokens}

    @property
    def shape(self) -> ModelShape:
        """Give the shape of the engine's model."""
        from vortex_dsl.serving.shapes import shape_of

        return shape_of(self.engine.llm.llm_engine.vllm_config.model_config.hf_config)

    def traced(self, text: str, values: Sequence[Sequence[Any]]) -> tuple[Program, Graph]:
        """Load a program and trace it for the engine's model. Raises ProgramError."""
        from vortex_dsl import Shape, load_program, trace

        program, shape = load_program(text).with_values(**dict(named(values))), self.shape
        return program, trace(program, Shape(shape.group, shape.head_dim))

    def kept(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """Give what was made under this key before, else make and keep it: inputs that many programs share."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def attend_every_page(self, values: Values = ()) -> None:
        """Serve the program that an engine starts with: it attends to every page, as vLLM's own backend does."""
        from search.evaluator.engine import START

        if self.sparse:
            self.swap(START.format(page_size=self.engine.settings.page_size), values)

    def forget_prompts(self) -> None:
        """Empty the prefix cache, and with it what was kept as being there."""
        self.engine.forget_prompts()
        self._kept = {key: made for key, made in self._kept.items() if key[0] != PREFILLED}

    def swap(self, text: str, values: Sequence[Sequence[Any]]) -> None:
        """Serve this program; where it is served already, its fields stand and only the counters start anew."""
        from vortex_dsl.serving.config import ServingError

        program = (text, named(values))
        if program == self._served_program:
            self.engine.reset()
            return
        self._served_program = None
        try:
            self.engine.swap(*program)
        except ServingError as error:
            raise RefusedError(Status.UNSUPPORTED, str(error)) from error
        self._served_program = program

    def done(self) -> Done:
        """Give what the engine did since its counters began anew."""
        return Done(self.engine.counters(), self.engine.decoded)

    def check_sparse(self, num_decoded: int, done: Done | None = None) -> None:
        """Raise unless at least one layer chose pages for every decoded token, and each layer decoded each token."""
        layers = (done or self.done()).layers
        ways = ("sparse_tokens", "dense_tokens", "window_tokens")
        odd = [i for i, c in enumerate(layers) if sum(c[way] for way in ways) != num_decoded]
        if odd or not any(c["sparse_tokens"] == num_decoded for c in layers):
            raise RefusedError(
                Status.NOT_SPARSE,
                f"{num_decoded} tokens were decoded, but the layers chose pages for "
                f"{[c['sparse_tokens'] for c in layers]} of them; lower dense_layers so that a layer is sparse",
            )

    def pages_read(self, done: Done | None = None) -> list[Measurement]:
        """Pages per decoded token and KV head in the layers that chose, beside what dense attention reads.

        And what the program's budget claims for the same tokens, at which lengths they were, and that nothing was
        preempted. Raises RefusedError where more was read than is claimed: than costs are compared by.
        """
        done = done or self.done()
        layers = [c for c in done.layers if c["sparse_tokens"]]
        reads = sum(c["sparse_tokens"] for c in layers) * self.shape.num_kv_heads
        attended, claimed = sum(c["pages_attended"] for c in layers) / reads, self._claimed(done.decoded)
        if attended > claimed + SLACK_PAGES:
            raise RefusedError(
                Status.WRONG_RESULT,
                f"{attended:.1f} pages were read for each token and KV head, and the program's budget claims "
                f"{claimed:.1f} at most",
            )
        return [
            Measurement("pages_attended", attended, num_samples=reads),
            Measurement("pages_dense", sum(c["pages_dense"] for c in layers) / reads, num_samples=reads),
            Measurement("sparse_layers", len(layers)),
            Measurement("pages_claimed", claimed, num_samples=reads),
            *done.decoded.measurements(),
        ]

    def _claimed(self, decoded: Decoded) -> float:
        assert self._served_program is not None, "pages are counted for a program"
        _, graph = self.traced(*self._served_program)
        return claimed_pages(graph, decoded, self.engine.num_layers)


def _on_card(settings: EngineSettings) -> EngineSettings:
    """Fit the KV cache to the GPU where settings say which share of it the engine may take."""
    if not settings.card_share:
        return settings
    from search.evaluator.caching import on_card
    from search.evaluator.engine import card_bytes
    from search.evaluator.models.weights import read_weights

    try:
        return on_card(settings, read_weights(Path(settings.model)), card_bytes())
    except ValueError as error:
        raise RefusedError(Status.INFRASTRUCTURE, str(error)) from None


def named(values: Sequence[Sequence[Any]]) -> Values:
    """Read pairs of a tunable's name and value as JSON gives them."""
    return tuple((str(name), value) for name, value in values)
