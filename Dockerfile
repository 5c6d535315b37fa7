# Vortex Search on a CPU. For an NVIDIA GPU: Dockerfile.cuda.
#   docker build -t vortex .
#   docker run --rm -v "$PWD:/work" --security-opt seccomp=unconfined vortex run --model smollm2 --ratio 8
# Docker's own seccomp profile forbids bubblewrap its namespaces. Without the option above, engines run unboxed, and
# `vortex doctor` says so. Either way the container is what keeps them from the host.
FROM python:3.11-slim-bookworm

# bubblewrap: the box of an engine; g++: torch compiles with it; libnuma1: vLLM's build for CPUs is linked with it
# The newest of this release of Debian: what is pinned here would soon be gone from its mirrors
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap g++ libnuma1 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /vortex
COPY . .
RUN make .venv/.run && rm -rf /root/.cache

RUN useradd --create-home --uid 1000 vortex && mkdir /work && chown vortex /work
USER 1000
ENV PATH="/vortex/.venv/bin:$PATH"
WORKDIR /work
ENTRYPOINT ["vortex"]
CMD ["--help"]
