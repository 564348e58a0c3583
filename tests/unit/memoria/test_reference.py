"""The public implementation, version 1.1.0, in an environment of its own, against ours."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks.peers import peer_python
from memoria import Memoria
from tests.support import memoria_runs
from tests.support.memoria_runs import Run, played

STEPS = 300
RUNS = [Run.random(seed, STEPS) for seed in range(20)]


@pytest.fixture(scope="module")
def reference_traces() -> list[list[dict[str, object]]]:
    """What the reference did at each step of each run: played here and now, in one subprocess."""
    python = peer_python("memoria-pytorch", "memoria-pytorch==1.1.0")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [python, Path(memoria_runs.__file__)],
        input="\n".join(json.dumps(dataclasses.asdict(run)) for run in RUNS),
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [Run(**line["run"]) for line in lines] == RUNS
    return [line["trace"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(RUNS)))
def test_every_step_is_that_of_the_reference(number: int, reference_traces) -> None:
    """Reminded indices, memories, types, lifespans and the whole matrix of counts, with ties to the first."""
    run, expected = RUNS[number], reference_traces[number]
    assert len(expected) == STEPS
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trace = played(Memoria(**run.network_arguments(), mode="reference", tie_break="first"), run)
    finally:
        torch.set_num_threads(threads)
    for step, (ours, theirs) in enumerate(zip(trace, expected, strict=True)):
        assert ours == theirs, f"step {step} of {run}"


@pytest.mark.slow
def test_the_runs_are_worth_comparing(reference_traces) -> None:
    ends = [trace[-1]["types"] for trace in reference_traces]
    assert sum("3" in types for types in ends) >= 10, "most runs should end with long-term memory"
    assert max(len(types) for types in ends) >= 100
    assert sum(trace[-1]["fired_pairs"] for trace in reference_traces) > 10_000
