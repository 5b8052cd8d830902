"""The profiles for one machine and for SLURM, and the manifest of a Kubernetes Job."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from recipes.study.grid import Grid
from recipes.study.plan import read_study

ROOT = Path(__file__).parents[3]
PROFILES = ROOT / "recipes" / "profiles"


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_a_killed_study_can_be_started_again(name):
    profile = yaml.safe_load((PROFILES / name / "config.yaml").read_text(encoding="utf-8"))
    # Without nolock, a study that was killed by SIGKILL ends in a LockException.
    assert profile["nolock"] and profile["rerun-incomplete"] and profile["keep-going"]


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((PROFILES / "kubernetes" / "job.yaml").read_text(encoding="utf-8"))


def test_the_kubernetes_job_runs_a_study_that_exists_on_the_volume(job):
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    words = shlex.split(container["args"][0])
    assert words[:4] == ["exec", "python", "-m", "snakemake"]
    named = dict(word.split("=", 1) for word in words[words.index("--config") + 1 :])
    for option in ("-s", "--profile"):
        assert (ROOT / words[words.index(option) + 1]).exists()
    conf = ROOT / "recipes" / "conf"
    grid = Grid(read_study(conf / "study.yml"), named["size"], "there", conf, sets=named["sets"].split(","))
    # The pod has what the largest job of the study uses.
    largest = max(getattr(grid.size.resources, kind).mem_mb for kind in ("pretrain", "finetune", "score", "data"))
    memory = int(re.fullmatch(r"(\d+)Gi", container["resources"]["limits"]["memory"])[1]) * 1024
    assert memory >= largest and int(container["resources"]["requests"]["cpu"]) >= grid.size.threads
    # An extended resource such as a GPU must have a limit.
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_kubernetes_job_fits_the_models_of_the_kubernetes_client(job):
    """Every key must be one of the client's model, with a value of its type; skipped without the client."""
    client = pytest.importorskip("kubernetes.client")

    def check(value, kind, place):
        if match := re.fullmatch(r"list\[(.+)\]", kind):
            assert isinstance(value, list), place
            for number, each in enumerate(value):
                check(each, match[1], f"{place}[{number}]")
        elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
            assert isinstance(value, dict) and all(isinstance(key, str) for key in value), place
            for key, each in value.items():
                check(each, match[1], f"{place}.{key}")
        elif hasattr(client, kind):
            model = getattr(client, kind)
            keys = {name: key for key, name in model.attribute_map.items()}
            unknown = set(value) - set(keys)
            assert not unknown, f"{place} has {unknown}"
            model(**{keys[name]: each for name, each in value.items()})  # checks required keys and allowed values
            for name, each in value.items():
                check(each, model.openapi_types[keys[name]], f"{place}.{name}")
        else:
            assert type(value).__name__ == kind, f"{place}: got {value!r}, expected {kind}"

    check(job, "V1Job", "job")
