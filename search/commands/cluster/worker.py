"""`vortex worker`: this machine joins a campaign's cluster, or is its head."""

from __future__ import annotations

from typing import Annotated

import typer

from search.commands import options
from search.commands.exits import CommandError, ExitCode
from search.commands.output import note

PORT, LEAST_PORT, MOST_PORT = 6379, 1024, 65535
MOST_CPUS = 4096

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="HOST:PORT",
        callback=options.head_address,
        help="Join the cluster whose head is at this address.",
    ),
]
Head = Annotated[bool, typer.Option("--head", help="Be the head of a new cluster, which others join.")]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        callback=options.host_address,
        help="The address by which others reach this head.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option("--port", min=LEAST_PORT, max=MOST_PORT, show_default=str(PORT), help="The port of this head."),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="FOLDER_OR_NAME", help="Let only machines join that have the same files of it; repeatable."
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option(
        "--cpus", metavar="N", min=0, max=MOST_CPUS, show_default="all", help="CPUs that this machine gives to workers."
    ),
]


def worker(
    ray: Ray = None, head: Head = False, host: Host = None, port: Port = None, model: Models = None, cpus: Cpus = None
) -> int:
    """Give this machine to campaigns until it is told to end: as a node of a cluster, or as the head of a new one."""
    from search.evaluator.cluster import node

    if head == (ray is not None):
        raise CommandError("give either --ray HOST:PORT, to join a cluster, or --head, to begin one")
    if ray is not None:
        given = {"--host": host, "--port": port, "--model": model}
        if of_heads := [name for name, value in given.items() if value]:
            raise CommandError(f"{of_heads[0]} is the head's to say; leave it out beside --ray")
        ended = node.join(ray, cpus, note)
    else:
        ended = node.lead(port or PORT, host or "", model or (), cpus, note)
    return ExitCode.DONE if ended == 0 else ExitCode.INFRASTRUCTURE
