"""What tests of the Triton path share."""

import pytest
import torch


@pytest.fixture
def captured():
    """Capture a step as a CUDA graph and give its replay; without CUDA, give the step itself."""

    def capture(step):
        if not torch.cuda.is_available():
            return step
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    return capture
