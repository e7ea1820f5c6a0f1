"""The manifests of docs/scale: their fields are those of the documented interfaces, and fit.

No cluster is at hand here. What a shell does in them runs, with programs in place of those that it
calls.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llm_timecycle.cli.main import group
from llm_timecycle.distributed.launcher import FINAL, STOPPED

FOLDER = Path(__file__).parents[2] / "docs/scale"
SERVICE, JOB = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8"))
SBATCH = FOLDER / "slurm.sh"


def describe(required: str = "", **fields: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def list_of(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
TEXT = {"type": "string", "minLength": 1}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
COUNT = {"type": "integer", "minimum": 0}
LABELS = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}
AMOUNTS = describe(cpu=QUANTITY, memory=QUANTITY)
METADATA = describe("name", name=NAME, labels=LABELS)

# Service v1 core, as in the Kubernetes API reference v1.31; the fields that are used.
SERVICE_SCHEMA = describe(
    "apiVersion kind metadata spec",
    apiVersion={"const": "v1"},
    kind={"const": "Service"},
    metadata=METADATA,
    spec=describe(
        "clusterIP selector",
        clusterIP={"const": "None"},
        publishNotReadyAddresses={"type": "boolean"},
        selector=LABELS,
        ports=list_of(describe("port", name=NAME, port=PORT)),
    ),
)
CONTAINER = describe(
    "name image",
    name=NAME,
    image=TEXT,
    command=list_of(TEXT),
    args=list_of(TEXT),
    workingDir=TEXT,
    env=list_of(describe("name value", name=TEXT, value=TEXT)),
    ports=list_of(describe("containerPort", containerPort=PORT)),
    resources=describe(requests=AMOUNTS, limits=AMOUNTS),
    volumeMounts=list_of(describe("name mountPath", name=NAME, mountPath=TEXT)),
)
POD = describe(
    "containers restartPolicy",
    subdomain=NAME,
    restartPolicy={"enum": ["Never", "OnFailure"]},  # what a Job takes
    terminationGracePeriodSeconds=COUNT,
    containers=list_of(CONTAINER),
    volumes=list_of(
        describe("name", name=NAME, persistentVolumeClaim=describe("claimName", claimName=NAME))
    ),
)
RULE = describe(
    "action",
    action={"enum": ["FailJob", "FailIndex", "Ignore", "Count"]},
    onExitCodes=describe(
        "operator values",
        containerName=NAME,
        operator={"enum": ["In", "NotIn"]},
        values=list_of({"type": "integer", "minimum": 1, "maximum": 255}),
    ),
    onPodConditions=list_of(
        describe("type", type={"enum": ["DisruptionTarget"]}, status={"enum": ["True", "False"]})
    ),
)
# Job v1 batch.
JOB_SCHEMA = describe(
    "apiVersion kind metadata spec",
    apiVersion={"const": "batch/v1"},
    kind={"const": "Job"},
    metadata=METADATA,
    spec=describe(
        "template",
        completionMode={"enum": ["Indexed", "NonIndexed"]},
        completions=COUNT,
        parallelism=COUNT,
        backoffLimit=COUNT,
        podFailurePolicy=describe("rules", rules=list_of(RULE)),
        template=describe("spec", metadata=describe(labels=LABELS), spec=POD),
    ),
)


@pytest.mark.parametrize(("manifest", "schema"), [(SERVICE, SERVICE_SCHEMA), (JOB, JOB_SCHEMA)])
def test_a_manifest_has_documented_fields(manifest: Any, schema: Any) -> None:
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(manifest)) == []


def test_the_schema_finds_a_wrong_field() -> None:
    with pytest.raises(jsonschema.ValidationError, match="completion"):
        jsonschema.validate({**JOB, "spec": {**JOB["spec"], "completion": 4}}, JOB_SCHEMA)


def read_environment() -> dict[str, str]:
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_the_parts_of_the_job_fit() -> None:
    spec, pod = JOB["spec"], JOB["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    count, port = spec["completions"], SERVICE["spec"]["ports"][0]["port"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == count  # all at once
    assert read_environment()["WORKERS"].split(",") == [
        f"{JOB['metadata']['name']}-{index}.{SERVICE['metadata']['name']}:{port}"
        for index in range(count)
    ]
    assert pod["subdomain"] == SERVICE["metadata"]["name"]  # which gives the pods their names
    assert SERVICE["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert SERVICE["spec"]["publishNotReadyAddresses"]  # names that exist before the hello
    assert container["ports"] == [{"containerPort": port}]
    assert pod["restartPolicy"] == "Never"  # as podFailurePolicy demands
    assert spec["backoffLimit"] % count == 0
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}


def test_what_cannot_end_differently_is_not_tried_again() -> None:
    final = sorted(FINAL - STOPPED - {0})
    rule = JOB["spec"]["podFailurePolicy"]["rules"][0]
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", final)
    assert rule["onExitCodes"]["containerName"] == container["name"]
    (codes,) = re.findall(r"^    (0 \|.*)\) break", SBATCH.read_text(), re.MULTILINE)
    assert [int(code) for code in codes.split("|")] == sorted(FINAL)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory of programs that note how they were called, in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    note = 'printf "%s " "${0##*/}" "$@" >> "$CALLS"; echo >> "$CALLS"\n'
    scripts = {
        "llm-timecycle": note + 'exit "$(sed -n "$(wc -l < "$CALLS")p" "$CODES")"',
        "scontrol": 'echo "node1\nnode2"',
        "srun": '[ "$1" = --kill-on-bad-exit=1 ] && shift; SLURM_PROCID=1 exec "$@"',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def run_shell(programs: Path, command: list[str], codes: list[int], **variables: str) -> Any:
    """Run it where `llm-timecycle` ends with these codes; its code, and the words of each call."""
    place = programs.parent
    (place / "codes").write_text("\n".join(map(str, codes)))
    calls = place / "calls"
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables}
    environment |= {"CALLS": str(calls), "CODES": str(place / "codes")}
    finished = subprocess.run(command, cwd=place, env=environment, check=False)
    return finished.returncode, [shlex.split(line) for line in calls.read_text().splitlines()]


def parse(words: list[str]) -> dict[str, Any]:
    """The options of a call, as the program reads them."""
    program, name, *arguments = words
    assert program == "llm-timecycle"
    command = group.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    return command.make_context(name, arguments).params


@pytest.mark.parametrize("is_there", [False, True])
def test_a_pod_begins_the_run_or_resumes_it(programs: Path, is_there: bool) -> None:
    (container,) = JOB["spec"]["template"]["spec"]["containers"]
    environment = read_environment()
    if is_there:
        make_run(programs.parent / environment["RUN"])
    code, calls = run_shell(
        programs, container["command"], [7], JOB_COMPLETION_INDEX="3", **environment
    )
    (options,) = map(parse, calls)
    assert code == 7
    assert options["resume"] is is_there
    assert options["workers"] == environment["WORKERS"]
    assert options["worker_index"] == 3
    assert options["run_path"] == Path("runs/my")


def test_a_batch_starts_again_what_was_lost(programs: Path) -> None:
    variables = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[1-2]"}
    make_run(programs.parent / "runs/my")
    code, calls = run_shell(programs, ["bash", str(SBATCH), "my.yaml"], [6, 137, 0], **variables)
    assert (code, len(calls)) == (0, 3)
    options = parse(calls[0])
    assert options["workers"] == "node1:24711,node2:24711"
    assert (options["worker_index"], options["resume"]) == (1, True)
    assert options["run_path"] == Path("runs/my")


@pytest.mark.parametrize(("codes", "calls"), [([3], 1), ([143], 1), ([6] * 4, 4)])
def test_a_batch_ends_with_the_code_of_the_last_try(
    programs: Path, codes: list[int], calls: int
) -> None:
    variables = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "node[1-2]"}
    code, called = run_shell(programs, ["bash", str(SBATCH), "my.yaml"], codes, **variables)
    assert (code, len(called)) == (codes[-1], calls)
    assert "--resume" not in called[0]


def make_run(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text("{}")
