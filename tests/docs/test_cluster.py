"""The recipes for Slurm and Kubernetes: what they start are commands of ours, with options that there are."""

import re
import shlex
import subprocess

import pytest
import yaml

from search.cli import commands
from tests.docs.shell import DOCS, blocks

(SLURM,), (KUBERNETES,) = blocks("cluster.md", "bash"), blocks("cluster.md", "yaml")


def parse(words):
    """Let a command of ours parse its words, as it would when it is called."""
    name, *given = words
    commands()[name].make_context(name, given)
    return name


def of_ours(script):
    """Give the words of every command of ours in a script, variables as some text."""
    for line in script.replace("\\\n", " ").splitlines():
        if found := re.search(r"\bvortex ([a-z]+ .*?)( &| > .*)?$", line):
            yield shlex.split(re.sub(r"\$\w+", "node7", found[1]))


def test_the_slurm_job_is_sound_and_its_commands_are_ours():
    subprocess.run(["bash", "-n"], input=SLURM, text=True, check=True)
    assert [parse(words) for words in of_ours(SLURM)] == ["worker", "cluster", "worker", "run"]


def test_the_job_is_asked_for_as_slurm_reads_it():
    asked = re.findall(r"^#SBATCH --([a-z-]+)=\S+$", SLURM, re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal"} == set(asked)
    assert SLURM.startswith("#!/bin/bash\n")  # or Slurm refuses it


def test_the_ray_cluster_starts_our_commands_and_knows_the_token():
    made = yaml.safe_load(KUBERNETES)
    assert (made["apiVersion"], made["kind"]) == ("ray.io/v1", "RayCluster")
    assert made["metadata"]["annotations"]["ray.io/overwrite-container-cmd"] == "true"
    groups = [made["spec"]["headGroupSpec"], *made["spec"]["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert container["command"][0] == "vortex"
        assert parse(container["command"][1:]) == "worker"
        environment = {each["name"]: each["value"] for each in container["env"]}
        assert environment["RAY_AUTH_MODE"] == "token"
        mounted = {each["mountPath"] for each in container["volumeMounts"]}
        assert any(environment["RAY_AUTH_TOKEN_PATH"].startswith(f"{path}/") for path in mounted)
        volumes = {each["name"] for each in group["template"]["spec"]["volumes"]}
        assert {each["name"] for each in container["volumeMounts"]} == volumes
    joined = groups[1]["template"]["spec"]["containers"][0]["command"][-1]
    assert joined == f"{made['metadata']['name']}-head-svc:6379"  # as the operator calls the head's service


@pytest.mark.parametrize("wrong", ["vortex worker --haed", "vortex cluster --ray"])
def test_a_wrong_option_is_seen(wrong):
    with pytest.raises(Exception, match=r"(?i)no such option|requires an argument"):
        parse(shlex.split(wrong)[1:])


def test_the_page_says_what_the_commands_refuse():
    text = (DOCS / "cluster.md").read_text()
    assert all(words in text for words in ("the same commit and code", "the same device and the same driver"))
