"""`ray up` of the cluster file for machines of one's own, really: over SSH, onto hosts made of namespaces."""

from __future__ import annotations

import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hosts import Hosts, hosts, wait_until, why_not

ROOT = Path(__file__).parents[2]
DRIVERS = ROOT / "tests/support/drivers"
REASON = why_not()
START_OPTIONS = "--num-cpus=1 --object-store-memory=150000000"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(420),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


def cluster_file(made: Hosts) -> Path:
    """The example with the addresses and the key of these hosts; ours is installed there already."""
    config: dict[str, Any] = yaml.safe_load(
        (ROOT / "examples/clusters/local.yaml").read_text(encoding="utf-8")
    )
    head, worker = made.hosts
    config["provider"] |= {"head_ip": head.address, "worker_ips": [worker.address]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(made.key)}
    config["setup_commands"] = [c for c in config["setup_commands"] if "pip install" not in c]
    assert len(config["setup_commands"]) == 1
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        commands[-1] = commands[-1].replace("ray start", f"ray start {START_OPTIONS}")
    # The example has the dashboard on loopback; here nobody looks at it.
    config["head_start_ray_commands"][-1] += " --include-dashboard=false"
    path = made.folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def autoscaler_log(made: Hosts) -> str:
    """Why a worker did not come."""
    logs = made.hosts[0].state.glob("ray/session_*/logs/monitor.*")
    return "\n".join(f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}" for path in logs)


def report_of(made: Hosts, done: subprocess.CompletedProcess[str]) -> Any:
    """What a submitted driver has printed."""
    lines = [line for line in done.stdout.splitlines() if "REPORT " in line]
    assert lines, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n{autoscaler_log(made)}"
    return json.loads(lines[-1].partition("REPORT ")[2])


def test_a_cluster_comes_up_works_loses_a_node_and_goes_down(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir(mode=0o700)
    (tmp_path / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    (tmp_path / ".ray" / "auth_token").chmod(0o600)
    with hosts(tmp_path, "head", "worker") as made:
        head, worker = made.hosts
        config = cluster_file(made)
        up = made.run("ray", "up", "--yes", "--no-config-cache", config)
        assert up.returncode == 0, up.stdout[-4000:] + up.stderr[-4000:]

        submit = ("ray", "submit", "--no-config-cache", config)
        report = report_of(made, made.run(*submit, DRIVERS / "store_and_push.py"))
        for host in made.hosts:
            assert (host.state / "home/.ray/auth_token").stat().st_mode & 0o777 == 0o600
        assert report == {"nodes": 2, "copies": 2, "rows": 200, "pushed_on_the_worker": True}

        worker.kill()
        report = report_of(made, made.run(*submit, DRIVERS / "read_after_loss.py"))
        assert report["right"] == 20
        assert report["rows"] == 200
        assert len(report["offline"]) == 1

        down = made.run("ray", "down", "--yes", config)
        assert down.returncode == 0, down.stdout[-4000:] + down.stderr[-4000:]
        wait_until(lambda: not made.connects(head.address, 6379), 60)
        assert made.connects(head.address, 22)  # Ray has ended, and the machine has not
