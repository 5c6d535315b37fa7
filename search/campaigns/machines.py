"""A campaign's machines: a model's folder, and the workers that serve it."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.campaigns.bounds import MAX_OUTAGE_S
from search.campaigns.saying import said
from search.config import ConfigError
from search.contracts import LookError
from search.kinds.wished import ANY_GPU, CPU, WHEREVER, is_gpu
from search.records import Stage, Status
from search.telling.passwords import hide_passwords
from search.workloads import HELD_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from search.config import CampaignConfig
    from search.contracts import Evaluator, Ledger
    from search.evaluator.arms import WorkerSettings
    from search.evaluator.cluster import Placement
    from search.evaluator.models import ModelFacts
    from search.evaluator.models.weights import Weights
    from search.evaluator.recall.distant import NearestLooker
    from search.evaluator.recall.looker import RecordedLooker
    from search.kinds.wished import Wish
    from search.records import Record, Workload

TIMED = (Stage.FIDELITY, Stage.SERVE)  # at whose lengths what serves must be right, above all
LEAST_ADDRESS_SPACE_BYTES = 16 << 30  # libraries alone map several GiB that they never touch
LEAST_GPU_CACHE_BYTES, MOST_GPU_CACHE_BYTES = 8 << 30, 64 << 30  # a card may have less for it
CPU_BYTES_PER_VALUE = 4  # of a KV cache in float32
MOST_THREADS = 16  # of the engine that prefills for all: more hardly pay for prompts of some thousand tokens


@dataclass(frozen=True)
class Machines:
    """Where programs are measured: workers on a Ray cluster, each with engines that serve `model` what is asked of it.

    `workloads` are what the stages run on, which says how many tokens the engines take. `wishes`: how many workers on
    which kinds, the one that decides the search first. `max_outage`: the seconds for which no worker may be left before
    the campaign ends.
    """

    model: ModelFacts
    workloads: tuple[Workload, ...]
    wishes: tuple[Wish, ...]
    ray: str
    max_outage: float = MAX_OUTAGE_S

    @contextmanager
    def pool(self) -> Iterator[Evaluator]:
        """Start the workers, and kill them with all their engines at the end.

        Raises ModelError, before anything starts, for a model that is not whole or takes too few tokens, and PoolError.
        """
        from search.evaluator.models.weights import read_weights
        from search.evaluator.pool import RayPool
        from search.evaluator.sandbox.scrubbing import hide_environment

        hide_environment()
        hide_passwords()
        with said(f"reading the weights of {self.model.name}", at_once=False):
            weights = read_weights(self.model.folder)
        deciding, *further = [self._crew(wish, weights) for wish in self.wishes]
        with closing(RayPool(*deciding, said, further)) as pool:
            yield pool

    def _crew(self, wish: Wish, weights: Weights) -> tuple[WorkerSettings, Placement]:
        """Say how workers of one kind run engines, and where they go. Raises ModelError."""
        from search.evaluator.cluster import Placement

        settings = worker_settings(self.model, self.workloads, is_gpu(wish.kind))
        if not is_gpu(wish.kind):
            settings = self._sharing_memory(settings, weights, wish)
        return settings, Placement(wish.num_workers, self.ray, wish.kind, self.max_outage)

    def _sharing_memory(self, settings: WorkerSettings, weights: Weights, wish: Wish) -> WorkerSettings:
        """Give engines on CPUs no larger KV caches than the machine's memory holds of all workers on it.

        Raises ModelError where caches have to be larger. Of other machines' memory nothing is known here: there each
        worker is taken to be alone.
        """
        from search.evaluator.caching import GIB, dense_cache_bytes, least_cache_bytes, machine_bytes, room_for_caches
        from search.evaluator.cluster import LOCAL
        from search.evaluator.models import ModelError

        engine, together = settings.engine, wish.num_workers if self.ray == LOCAL else 1
        least = least_cache_bytes(self.model, self.workloads, CPU_BYTES_PER_VALUE, engine)
        both = 1 + dense_cache_bytes(self.model, CPU_BYTES_PER_VALUE, engine) / engine.kv_cache_bytes
        rooms = {n: int(room_for_caches(weights, n) / both) for n in range(1, together + 1)}
        if rooms[together] < least and self.ray == LOCAL:
            fitting = max((n for n, room in rooms.items() if room >= least), default=0)
            fewer = f"--gpu {CPU}={fitting}" if wish.kind == CPU else f"--workers {fitting}"
            remedy = fewer if fitting else "a smaller model or shorter texts (--tokens)"
            raise ModelError(
                f"each worker holds two engines of {self.model.name}, each with a KV cache of {least / GIB:.1f} GiB at "
                f"least; {together} workers leave {rooms[together] / GIB:.1f} GiB of this machine's "
                f"{machine_bytes() / GIB:.1f} for each; give {remedy}"
            )
        engine = replace(engine, kv_cache_bytes=min(engine.kv_cache_bytes, max(rooms[together], least)))
        dense = dense_cache_bytes(self.model, CPU_BYTES_PER_VALUE, engine)
        return replace(settings, engine=engine, dense_cache_bytes=dense)


def folder_and_name(model: str) -> tuple[Path, str]:
    """Give a model's folder, and the name that finds it again from anywhere. Raises ModelError."""
    from search.evaluator.models import is_own, model_folder, smollm2

    converting = model == smollm2.NAME and not smollm2.is_converted()
    step = f"converting {model} into {smollm2.place()}, once; this takes about 20 seconds"
    with said(step) if converting else nullcontext():
        folder = model_folder(model)
    return folder, str(folder) if not is_own(model) and Path(model).expanduser().is_dir() else model


def facts_to_serve(model: str) -> ModelFacts:
    """Give what is known of a model whose engines are about to start. Raises ModelError.

    Where they run on a CPU its loops are compiled meanwhile.
    """
    from search.evaluator.compiling import compile_ahead
    from vortex_dsl.serving.plugin import on_cpu_build

    if on_cpu_build():
        compile_ahead(scratch())
    return facts_of(model)


def facts_of(model: str) -> ModelFacts:
    """Give what is known of a model, by its name or folder. Raises ModelError."""
    from search.evaluator.models import model_facts

    folder, name = folder_and_name(model)
    with said(f"reading the model {name}", at_once=False):
        return model_facts(folder, name)


def kind_here() -> str:
    """Name what workers need where nobody asked: any GPU where vLLM is built for GPUs, else no more than CPUs."""
    from vortex_dsl.serving.plugin import on_cpu_build

    return WHEREVER if on_cpu_build() else ANY_GPU


def worker_settings(model: ModelFacts, workloads: Sequence[Workload], on_gpu: bool) -> WorkerSettings:
    """Say how a worker runs its engines: float32 and limits on a CPU, bfloat16 and a larger cache on a GPU.

    Raises ModelError where the model takes fewer tokens than the workloads need.
    """
    from search.config import tokens_needed
    from search.evaluator.arms import WorkerSettings
    from search.evaluator.caching import CARD_SHARE, cache_bytes, machine_bytes
    from search.evaluator.engine import EngineSettings

    shape, num_tokens = (model.group, model.head_dim), tokens_needed(workloads)
    model.require_tokens(num_tokens)
    text = _given_text(workloads)
    lengths = tuple(
        sorted({each for workload in workloads if workload.stage in TIMED for each in workload.all_lengths})
    )
    engine = EngineSettings(str(model.folder), sparse=True, max_tokens=num_tokens, lengths=lengths)
    if on_gpu:
        wanted = cache_bytes(model, workloads, 2, engine)
        cached = min(max(LEAST_GPU_CACHE_BYTES, wanted), MOST_GPU_CACHE_BYTES)
        return WorkerSettings(
            replace(engine, dtype="bfloat16", kv_cache_bytes=cached, card_share=CARD_SHARE),
            scratch(),
            shape,
            given_text=text,
        )
    wanted = cache_bytes(model, workloads, CPU_BYTES_PER_VALUE, engine)
    cached = max(engine.kv_cache_bytes, min(wanted, machine_bytes() // 4))  # two engines hold one each
    return WorkerSettings(
        replace(engine, kv_cache_bytes=cached),
        scratch(),
        shape,
        memory_bytes=max(LEAST_ADDRESS_SPACE_BYTES, machine_bytes()),
        given_text=text,
        reference_threads=min(os.cpu_count() or 1, MOST_THREADS),
        timed_alone=True,
    )


def looker_of(config: CampaignConfig) -> RecordedLooker:
    """Give what looks quickly at programs, by what workers on this machine have recorded for a campaign's recall.

    Nothing is read or started before the first look.
    """
    from search.evaluator.recall.looker import RecordedLooker

    return RecordedLooker(cache(lambda: _recorded(config)), scratch())


def nearest_looker_of(config: CampaignConfig) -> NearestLooker:
    """Give what looks as `looker_of`, or on a machine of the Ray that this process drives, where that has recorded."""
    from search.evaluator.recall.distant import NearestLooker

    return NearestLooker(partial(looker_of, config))


def _recorded(config: CampaignConfig) -> Path:
    """Give the file of a campaign's recordings, whether or not it is there. Raises LookError."""
    from search.evaluator.identity import EVALUATOR_VERSION, environment
    from search.evaluator.models import ModelError, model_digest
    from search.evaluator.recall.stage import file_of

    if Stage.RECALL not in config.stages:
        raise LookError("there is no look: recall is none of this campaign's stages, so that nothing is recorded")
    try:
        model = facts_of(config.model)
        settings = worker_settings(model, config.workloads, is_gpu(kind_here()))
        dtype = settings.engine.dtype
        made_by = model_digest(model.folder), environment(dtype).digest, EVALUATOR_VERSION, dtype
        return file_of(settings.scratch, made_by, config.workload(Stage.RECALL), config.evaluation_seed)
    except ModelError as error:
        raise LookError(f"there is no look: {error}") from error


def recording_behind(ledger: Ledger, record: Record, ratio: float, scratch: Path) -> Path:
    """Give the file on which a candidate's choices of pages were measured at a cost ratio, whether or not it is there.

    Raises LookError where they were not measured.
    """
    from search.evaluator.recall.stage import file_of

    for each in record.evaluations:
        key = each.key
        is_recorded = key.stage in (Stage.RECALL, Stage.SCREEN) and each.status is not Status.QUARANTINED
        if is_recorded and each.ratio == ratio:
            workload, place = ledger.workload(key.workload_digest), ledger.environment(key.environment_digest)
            if workload.split != HELD_OUT:
                made_by = key.model_digest, key.environment_digest, key.evaluator_version, place.dtype
                return file_of(scratch, made_by, workload, key.seed)
    raise LookError("its choices of pages were not measured here, so there is no recording to draw them from")


def _given_text(workloads: Sequence[Workload]) -> str:
    """Give the text from which workloads are cut, nothing where it is the one that comes with Python."""
    from search.evaluator.fidelity.given import PREFIX, TextError, kept_text

    source = next((workload.source for workload in workloads if workload.source.startswith(PREFIX)), "")
    try:
        return kept_text(source, scratch()) if source else ""
    except TextError as error:
        raise ConfigError(str(error)) from None


def scratch() -> Path:
    """Give the engines' home: a cache, so that the next start finds what the last one compiled.

    Programs can write there, so that nothing else is kept in it.
    """
    from search.evaluator.models import cache_folder

    return cache_folder() / "engines"
