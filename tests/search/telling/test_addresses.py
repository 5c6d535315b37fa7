"""An address that can be none is refused where it is read, before a token, a model or a database is looked for."""

import pytest

from search.cli import main
from search.commands.exits import ExitCode
from search.telling.addresses import head_wanted, parts

HEAD = "HOST:PORT of a cluster's head, such as head:6379"
WITH_A_PORT = f"{HEAD}, with a port from 1 to 65535"
BAD = {
    "": HEAD, "head": HEAD, "head:": HEAD, ":6379": HEAD, "h h:1": HEAD, "ray://head:1": HEAD, "head:6379x": HEAD,
    "[head:6379": HEAD, "h:99999": WITH_A_PORT, "h:0": WITH_A_PORT, "h:" + "9" * 1000: WITH_A_PORT,
    "h:" + "9" * 5000: HEAD,
}  # fmt: skip


@pytest.mark.parametrize("address", BAD)
def test_what_can_be_no_head_is_told(address):
    assert head_wanted(address) == BAD[address]


@pytest.mark.parametrize(
    ("address", "found"),
    {
        "head:6379": ("head", 6379), "10.0.0.5:1": ("10.0.0.5", 1), "[::1]:65535": ("::1", 65535),
        "::1:06379": ("::1", 6379), "a_b-c.example:22": ("a_b-c.example", 22),
    }.items(),
)  # fmt: skip
def test_what_can_be_one_has_a_host_and_a_port(address, found):
    assert head_wanted(address) == ""
    assert parts(address) == found


@pytest.mark.parametrize(
    "words",
    [("worker", "--ray"), ("cluster", "--ray"), ("mcp", "--ray"), ("run", "--dry-run", "--ray"), ("resume", "--ray")],
)
@pytest.mark.parametrize("address", ["h:99999", "h h:1"])
def test_every_command_tells_it_first(words, address, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)  # without a database
    monkeypatch.setenv("HOME", str(tmp_path))  # without a token
    assert main([*words, address]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert address in told
    assert BAD[address] in told


def test_so_it_is_of_a_host(capsys):
    assert main(["worker", "--head", "--host", "a b"]) == ExitCode.USAGE
    assert "--host must be a host's name or address, such as 10.0.0.5, but is a b" in capsys.readouterr().err


@pytest.mark.parametrize("port", [0, 99999])
def test_so_it_is_of_a_database(port, capsys):
    """PostgreSQL's library takes 0 for its own port."""
    assert main(["status", "--db", f"postgresql://me@nowhere:{port}/x"]) == ExitCode.USAGE
    assert f"names the port {port}: give a port from 1 to 65535, or none for 5432" in capsys.readouterr().err
