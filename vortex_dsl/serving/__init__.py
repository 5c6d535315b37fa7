"""The vLLM plugin: any program, deployed inside an unmodified vLLM. The only importer of vllm in `vortex_dsl`."""
