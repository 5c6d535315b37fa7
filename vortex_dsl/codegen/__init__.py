"""From a graph to Triton kernels."""
