"""What people call: `attend` and `decode` by any backend, and `cost`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vortex_dsl.analysis.cost import NUM_LAYERS, Cost, cost_of
from vortex_dsl.backends.contract import BACKENDS, Backend, BackendName, Decode, checked_scale
from vortex_dsl.backends.decoding import Run
from vortex_dsl.frontend.trace import trace
from vortex_dsl.values import MAX_HEADS, MAX_LAYERS, MAX_SEQUENCES, MAX_TOKENS, Shape, check_size

if TYPE_CHECKING:
    import torch

    from vortex_dsl.frontend.program import Program


def attend(
    program: Program,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    lengths: torch.Tensor | None = None,
    scale: float | None = None,
    layer: int = 0,
    num_layers: int = 1,
    backend: BackendName = "reference",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the pages that a program chooses, and to the reserved ones.

    q: [batch, num_q_heads, head_dim]; k, v: [batch, num_kv_heads, tokens, head_dim], keys after rotary
    embedding; lengths: [batch] tokens with the current one, all by default; scale: 1 / sqrt(head_dim) by
    default. What k and v hold beyond a sequence's length does not matter.

    -> out [batch, num_q_heads, head_dim] in q's dtype, and the attended pages,
    bool [batch, num_kv_heads, ceil(tokens / page_size)]. Raises ValueError for shapes that do not fit or are out of
    bounds.
    """
    lengths = _checked(q, k, v, lengths)
    check_size("attend: num_layers", num_layers, MAX_LAYERS)
    check_size("attend: layer", layer, num_layers - 1, least=0)
    graph = trace(program, Shape(group=q.shape[1] // k.shape[1], head_dim=q.shape[2]))
    scale = checked_scale(scale, q.shape[2])
    step = Decode(q.unflatten(1, (k.shape[1], -1)), k, v, lengths, scale, layer, num_layers)
    runner = backend_of(backend)(graph)
    attended = runner.choose(step, None).attended
    out = runner.attend(step, attended)
    return out.flatten(1, 2).to(q), attended.unflatten(0, k.shape[:2]).to(q.device)


def backend_of(name: BackendName) -> type[Backend]:
    """Give a backend by name. Raises ValueError for another name."""
    if name == "reference":
        from vortex_dsl.backends.reference import Reference

        return Reference
    if name == "torch":
        from vortex_dsl.backends.torch_backend import Torch

        return Torch
    if name == "triton":
        from vortex_dsl.backends.triton_backend import Triton

        return Triton
    if name == "cpu":
        from vortex_dsl.backends.cpu_backend import Cpu

        return Cpu
    message = f"backend {name!r} does not exist; use one of {', '.join(BACKENDS)}"
    raise ValueError(message)


def check_cache(what: str, shape: torch.Size) -> None:
    """Refuse sizes that no cache has. shape: [..., batch, num_kv_heads, tokens, head_dim]."""
    check_size(f"{what}: batch", shape[-4], MAX_SEQUENCES, least=0)
    check_size(f"{what}: num_kv_heads", shape[-3], MAX_HEADS)
    check_size(f"{what}: tokens", shape[-2], MAX_TOKENS, least=0)


def _checked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
    """Refuse shapes that do not fit each other, and give the lengths as int64 [batch]."""
    import torch

    shapes = f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}"
    fits = q.dim() == 3 and k.dim() == 4 and k.shape == v.shape and q.shape[0] == k.shape[0]
    if fits:
        check_cache("attend", k.shape)
    if not fits or q.shape[2] != k.shape[3] or q.shape[1] % k.shape[1]:
        message = (
            f"attend: {shapes} do not fit; give q [batch, num_q_heads, head_dim] and k, v "
            "[batch, num_kv_heads, tokens, head_dim], num_q_heads a multiple of num_kv_heads"
        )
        raise ValueError(message)
    if lengths is None:
        return torch.full((q.shape[0],), k.shape[2], dtype=torch.int64, device=q.device)
    if lengths.shape != q.shape[:1] or bool((lengths < 0).any()) or bool((lengths > k.shape[2]).any()):
        message = f"attend: lengths {lengths.tolist()} must be one per sequence, between 0 and {k.shape[2]} tokens"
        raise ValueError(message)
    return lengths.to(torch.int64)


def cost(program: Program, shape: Shape, tokens: int = 32768, num_layers: int = NUM_LAYERS) -> Cost:
    """Give the cost of one decode step of `program` at a length of `tokens` tokens in a model of `num_layers` layers.

    Both are at least 1.
    """
    return cost_of(trace(program, shape), tokens, num_layers)


def decode(
    program: Program,
    qs: torch.Tensor,
    ks: torch.Tensor,
    vs: torch.Tensor,
    prompt_tokens: int,
    scale: float | None = None,
    backend: BackendName = "reference",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode several steps of all layers after a prefill of `prompt_tokens` tokens.

    qs: [steps, layers, batch, num_q_heads, head_dim]; ks, vs: [layers, batch, num_kv_heads,
    prompt_tokens + steps, head_dim], keys after rotary embedding. Step i attends to the first
    prompt_tokens + i + 1 tokens, the current one included. scale: 1 / sqrt(head_dim) by default.

    -> outs [steps, layers, batch, num_q_heads, head_dim] in qs' dtype, and the attended pages,
    bool [steps, layers, batch, num_kv_heads, ceil((prompt_tokens + steps) / page_size)].
    Raises ValueError for shapes that do not fit or are out of bounds.
    """
    import torch

    _check(qs, ks, vs, prompt_tokens)
    graph = trace(program, Shape(group=qs.shape[3] // ks.shape[2], head_dim=qs.shape[4]))
    run = Run(graph, backend_of(backend)(graph), checked_scale(scale, qs.shape[4]), qs.shape[1])
    done = [
        run.step(q, k, v, layer, prompt_tokens + i + 1)
        for i in range(qs.shape[0])
        for layer, (q, k, v) in enumerate(zip(qs[i], ks, vs, strict=True))
    ]
    outs, attended = (torch.stack(parts).unflatten(0, qs.shape[:2]) for parts in zip(*done, strict=True))
    return outs.to(qs), attended.to(qs.device)


def _check(qs: torch.Tensor, ks: torch.Tensor, vs: torch.Tensor, prompt_tokens: int) -> None:
    """Refuse shapes that do not fit each other."""
    fits = qs.dim() == 5 and ks.dim() == 5 and ks.shape == vs.shape and qs.shape[0] >= 1
    fits = fits and prompt_tokens >= 0 and ks.shape[3] == prompt_tokens + qs.shape[0]
    if fits:
        check_cache("decode", ks.shape)
        check_size("decode: layers", ks.shape[0], MAX_LAYERS)
    if not fits or qs.shape[1:3] != ks.shape[:2] or qs.shape[4] != ks.shape[4] or qs.shape[3] % ks.shape[2]:
        message = (
            f"decode: qs {list(qs.shape)}, ks {list(ks.shape)}, vs {list(vs.shape)} with prompt_tokens={prompt_tokens} "
            "do not fit; give qs [steps, layers, batch, num_q_heads, head_dim] and ks, vs [layers, batch, "
            "num_kv_heads, prompt_tokens + steps, head_dim], num_q_heads a multiple of num_kv_heads"
        )
        raise ValueError(message)
