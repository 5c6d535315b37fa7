"""`vortex mcp`: the tools for agents that people run, as a server of the Model Context Protocol."""

from __future__ import annotations

import os
import secrets
from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from search.commands import options
from search.commands.database import opened
from search.commands.exits import CommandError, ExitCode
from search.commands.listening import LOOPBACK, TOKEN_FORM, Port, is_token, listening, url_of
from search.commands.output import note

if TYPE_CHECKING:
    from search.outside.gateway import Gateway

TOKEN = "VORTEX_MCP_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_BYTES = 24

Agent = Annotated[
    str, typer.Option("--agent", metavar="NAME", help="Who brings programs; the campaign's only agent if left out.")
]
CampaignOption = Annotated[
    int | None,
    typer.Option(
        "--campaign", metavar="ID", min=1, callback=options.storable,
        help="The campaign; at each call the newest that takes the agent's programs if left out.",
    ),
]  # fmt: skip
Http = Annotated[bool, typer.Option("--http", help="Serve over HTTP, with a token, instead of stdin and stdout.")]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Where HTTP is served: this machine alone; 0.0.0.0: all.")
]
Ray = Annotated[
    str,
    typer.Option(
        "--ray", metavar="ADDRESS", callback=options.cluster_of_mine,
        help="The campaign's Ray cluster, of which this machine is one: look there where nothing is recorded here.",
    ),
]  # fmt: skip


def mcp(
    agent: Agent = "",
    campaign: CampaignOption = None,
    http: Http = False,
    host: Host = LOOPBACK,
    port: Port = 0,
    ray: Ray = "",
    db: options.Database = options.DATABASE_URL,
) -> int:
    """Let agents that speak MCP take part: brief, check, look, submit, wait and more; on stdio, or over HTTP.

    Over HTTP whoever calls needs the token in VORTEX_MCP_TOKEN; where none is set one is made and told on stderr.
    """
    from search.campaigns.machines import nearest_looker_of
    from search.evaluator.cluster.joining import connected
    from search.outside.gateway import Gateway
    from search.outside.lookers import Lookers
    from search.outside.server import serve_stdio

    if not http and (host, port) != (LOOPBACK, 0):
        raise CommandError(
            "--host and --port say where HTTP is served, and without --http it is stdio; give --http too"
        )
    cluster = connected(ray, 1) if ray else nullcontext()
    with opened(db) as ledger, cluster, closing(Lookers(nearest_looker_of)) as lookers:
        gateway = Gateway(ledger, agent, campaign, lookers)
        if http:
            _serve_http(gateway, host, port)
        else:
            serve_stdio(gateway)
    return ExitCode.DONE


def _serve_http(gateway: Gateway, host: str, port: int) -> None:
    from search.outside.server import PATH, serve_http

    token = _token()
    with listening(host, port) as bound:
        note(f"serving {url_of(host, bound)}{PATH}")
        serve_http(gateway, bound, token)


def _token() -> str:
    """Give the token from the environment, or make one and tell it."""
    token = os.environ.get(TOKEN, "")
    if not token:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        note(f"{TOKEN} is not set; for this run the token is {token}")
    elif not is_token(token):
        raise CommandError(f"{TOKEN} must have {TOKEN_FORM}")
    return token
