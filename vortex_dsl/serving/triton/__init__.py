"""Serving on CUDA, by our Triton kernels."""
