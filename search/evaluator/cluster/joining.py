"""The Ray that workers run on: a private one that this run alone can enter, or somebody's, with his token.

Ray runs what anyone sends it who holds its token. So a private cluster has a token of its own, listens on the loopback
interface alone, and its processes are born without our environment: whatever runs in them can read that.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.evaluator.cluster.asking import nodes
from search.evaluator.cluster.errors import PoolError
from search.evaluator.sandbox import INHERITED
from search.evaluator.sandbox.strays import kill_ray
from search.telling.addresses import head_wanted, parts
from search.telling.passwords import hide_passwords

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCAL = "local"
LOOPBACK = "127.0.0.1"
KNOCK_S = 10.0  # for a machine to answer at all
LOOK_S = 2.0  # for one that answered before
OBJECT_STORE_BYTES = 100 << 20  # tasks and results are a few kilobytes; Ray's default is 30 % of the memory
MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a warning about CPU workers
}
# Drivers and nodes end their processes where the head is away for as long as this; whether to wait is for us to say.
PATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "86400"}
# Ray takes "127.0.0.1" for "whatever address others can reach" and listens everywhere, unless clusters are off.
ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
KEPT = (*INHERITED, "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "RAY_TMPDIR")
SETTING_OF_RAY = re.compile("RAY_[a-z]")  # its own settings are spelled so, and none of them is a secret
# What scales clusters, hands logs on and serves pages: a second of a core each, before anything of ours begins.
OBSERVERS = ("start_monitor", "start_log_monitor", "start_api_server")
REMEDY = (
    f"give it in {TOKEN}, in a file that {TOKEN_PATH} names, or in ~/.ray/auth_token (`ray get-auth-token` prints it "
    f"on the cluster's head node); {MODE}=disabled joins a cluster that asks nobody for one"
)
REMEDY_OF_HEADS = (
    f"make one with `ray get-auth-token --generate` and copy ~/.ray/auth_token to every node, or give it in {TOKEN} or "
    f"in a file that {TOKEN_PATH} names"
)


@contextmanager
def connected(address: str, num_cpus: int) -> Iterator[None]:
    """Be a driver of Ray at `address` ("local" starts one with `num_cpus`).

    Raises PoolError where that fails, RayError where it is gone again meanwhile.
    """
    import ray

    try:
        with _private(num_cpus) if address == LOCAL else _joined(address):
            yield
    finally:  # where it fails on the way in too: what others could reach must not stay
        try:
            ray.shutdown()
        finally:
            if address == LOCAL:  # workers whose raylet has died would hold their engines' memory for a while
                kill_ray()


@contextmanager
def _private(num_cpus: int) -> Iterator[None]:
    """Start a cluster of our own. Its token lies in no folder: it is gone with this process, however that ends."""
    from ray._private import ray_constants

    token = os.memfd_create("ray-token")
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    try:
        os.write(token, secrets.token_hex(32).encode())
        auth = {MODE: "token", TOKEN_PATH: f"/proc/{os.getpid()}/fd/{token}"}
        with _environment(harmless(os.environ) | QUIET | PATIENT | ALONE | auth), _unobserved():
            ray_constants.ENABLE_RAY_CLUSTER = False  # read from the environment when ray was imported, maybe long ago
            try:
                _init(LOCAL, num_cpus=num_cpus, object_store_memory=OBJECT_STORE_BYTES, _node_ip_address=LOOPBACK)
            finally:
                ray_constants.ENABLE_RAY_CLUSTER = clusters
        _check_loopback(nodes())
        yield
    finally:
        os.close(token)


@contextmanager
def _unobserved() -> Iterator[None]:
    """Let a Ray that starts meanwhile begin without its observers, which nobody could ask; it has no such option."""
    from ray._private.node import Node

    starts = {name: getattr(Node, name) for name in OBSERVERS}
    for name in OBSERVERS:
        setattr(Node, name, lambda _node, **_options: None)
    try:
        yield
    finally:
        for name, start in starts.items():
            setattr(Node, name, start)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """Join a cluster with the token that Ray finds where its documentation says."""
    with _environment({MODE: "token"} | dict(os.environ) | QUIET | PATIENT):
        _check_token(address)
        if not head_wanted(address):  # and not "auto", which Ray looks up first
            _knock(address)
        _init(address)
    yield


@contextmanager
def asked(address: str) -> Iterator[Any]:
    """Give what asks the head of a cluster (Ray's `GcsClient`), without being a driver of it. Raises PoolError."""
    if wanted := head_wanted(address):
        raise PoolError(f"'{address}' is no address of a Ray cluster's head: give {wanted}")
    from ray.exceptions import RayError

    with _environment({MODE: "token"} | dict(os.environ) | QUIET):
        _check_token(address)
        try:
            yield _knock(address)
        except RayError as error:
            raise PoolError(f"Ray at {address} gave no answer: {' '.join(str(error).split())}") from error


def answers(address: str) -> bool:
    """Say whether somebody listens at the address of a head or a node."""
    try:
        socket.create_connection(parts(address), timeout=LOOK_S).close()
    except OSError:
        return False
    return True


def ends() -> tuple[str, ...]:
    """Give the addresses of the head of the cluster that this process is a driver of, and of the node it is on.

    Raises RayError where the head is gone.
    """
    import ray

    context = ray.get_runtime_context()
    ours = [node for node in nodes() if node["NodeID"] == context.get_node_id()]
    return str(context.gcs_address), *(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}" for node in ours)


def token_here() -> str:
    """Give the cluster's token from where Ray documents that it looks for one. Raises PoolError where there is none."""
    named = os.environ.get(TOKEN_PATH)
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    found = os.environ.get(TOKEN, "").strip() or _content(file)
    if not found:
        raise PoolError(f"a cluster needs a token, and there is none here: {REMEDY_OF_HEADS}")
    return found


def _init(address: str, **options: Any) -> None:
    """Call `ray.init` with the authentication that the environment says now. Raises PoolError."""
    import ray

    _forget_authentication()
    hide_passwords()  # Ray tells the whole cluster how its drivers were called
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises a bare one where it does not start in time
        raise PoolError(f"Ray at {address} cannot be used: {error}") from error


def _forget_authentication() -> None:
    """Let Ray read mode and token anew: it keeps those of its import, or of the cluster before."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _check_token(address: str) -> None:
    """Raise PoolError where a token is needed and missing; Ray would end the process, or try for minutes."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    if os.environ[MODE].lower() != "token":
        return
    named = os.environ.get(TOKEN_PATH, "")
    if named and not os.environ.get(TOKEN) and not _content(Path(named)):
        raise PoolError(f"{TOKEN_PATH} names {named}, where no token for Ray at {address} can be read: {REMEDY}")
    _forget_authentication()
    if not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        raise PoolError(f"Ray at {address} is joined with the cluster's token, and there is none here: {REMEDY}")


def _knock(address: str) -> Any:
    """Give a client of the cluster's head. Raises PoolError where that does not take our token, or is not there.

    `ray.init` would try for minutes, in silence.
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.exceptions import AuthenticationError, RayError

    _forget_authentication()
    try:
        socket.create_connection(parts(address), KNOCK_S).close()
        return GcsClient(address=address)
    except AuthenticationError as error:
        raise PoolError(f"Ray at {address} did not take the token that was found here: {REMEDY}") from error
    except (OSError, OverflowError, ValueError, RuntimeError, RayError) as error:
        raise PoolError(f"Ray at {address} cannot be reached: {error}") from error


def _content(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _check_loopback(nodes: list[dict[str, Any]]) -> None:
    """Raise PoolError unless the cluster that was just started is out of everybody's reach."""
    reachable = [node["NodeManagerAddress"] for node in nodes if node["NodeManagerAddress"] != LOOPBACK]
    if reachable:
        raise PoolError(
            f"the private Ray listens on {', '.join(reachable)} instead of {LOOPBACK}, where others could reach it; "
            "install the version of ray that pyproject.toml names"
        )


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """Give what Ray's processes may see of an environment: no API key, no password, nothing that we do not know."""
    return {name: value for name, value in environment.items() if name in KEPT or SETTING_OF_RAY.match(name)}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables and no others for a while: the processes that are started then inherit them."""
    before = dict(os.environ)
    _become(variables)
    try:
        yield
    finally:
        _become(before)


def _become(variables: Mapping[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)
