# mypy: disallow-incomplete-defs=False
"""The program that arrives last goes on alone: what would be a second launch becomes the end of the first.

Programs that share a result count themselves at one counter. Whoever finds all others counted reads what they left,
and sets the counter back to 0 for the next launch, so nothing is cleared beforehand and a CUDA graph can be replayed.
Launches of one device that count must follow each other, as those of one stream do.
"""

import torch
import triton
import triton.language as tl

LEAST_COUNTERS = 2**16
_kept: dict[torch.device, list[torch.Tensor]] = {}  # all ever made: captured graphs hold their addresses


@triton.jit
def is_last(counter_ptr, expected):
    """Tell whether this is the last of the programs that share a counter; it then sees all that the others stored.

    Where one program is expected or none, no counter is touched.
    """
    tl.debug_barrier()  # all threads have stored before the one that counts says so
    earlier = 0
    if expected > 1:
        earlier = tl.atomic_add(counter_ptr, 1, sem="acq_rel", scope="gpu")
        if earlier == expected - 1:
            tl.store(counter_ptr, 0)
    return earlier >= expected - 1


def counters(num: int, device: torch.device) -> torch.Tensor:
    """Give at least so many counters, int32, all 0 between launches and always in the same memory while they suffice.

    Raises RuntimeError where a CUDA graph that is being captured needs more of them than there are.
    """
    kept = _kept.setdefault(device, [])
    if not kept or kept[-1].numel() < num:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            message = (
                f"a CUDA graph that is being captured needs {num} counters on {device}, and there are "
                f"{kept[-1].numel() if kept else 0}; run the step once before it is captured"
            )
            raise RuntimeError(message)
        size = max(LEAST_COUNTERS, triton.next_power_of_2(num))
        kept.append(torch.zeros(size, dtype=torch.int32, device=device))
    return kept[-1]
