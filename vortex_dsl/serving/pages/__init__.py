"""The KV cache as pages with fields, and the kernels that read and write them."""
