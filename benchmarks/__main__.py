"""`python -m benchmarks [--quick] [NAME ...]`: run benchmarks one by one, write docs/benchmarks.md.

Every benchmark runs in a process of its own, alone, and writes what it found as JSON; the page is made of
these files. `--keep FOLDER` says where they go; with `--page-only` nothing runs, and the page is made of what
lies there. All of them together have 40 minutes: who is not finished by then is stopped and called missing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.bars import Report, read_report
from benchmarks.page import Run, write_page

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
KEPT = ROOT / ".cache" / "benchmarks"
BUDGET_S = 40 * 60.0

PARTS: dict[str, str] = {
    "imports": "Part 1: importing",
    "tiers_local": "Part 2: the cold tier on one disk",
    "metadata_query": "Part 2: metadata queries",
    "policies": "Part 2: eviction policies and the predictor",
    "tiers_s3": "Part 2: glacier on S3",
    "tiers_cluster": "Part 3: tiers on a cluster",
    "tiers_migration": "Part 3: migration on a cluster",
    "replay_local": "Part 4: replay in one process",
    "replay_frames": "Part 4: frames stored once",
    "replay_sb3": "Part 4: replay in Stable-Baselines3",
    "replay_cluster": "Part 5: replay on a cluster",
    "replay_checkpoint": "Part 5: a checkpoint while others go on",
    "memoria": "Part 6: Memoria",
    "scale": "The core at 1,000 nodes",
}
"""In the order in which they run."""

ARGUMENTS = {"replay_sb3": ["--seeds", "3", "--steps", "10000"]}
"""Ten seeds of full length take half of the time that all benchmarks have: they are run by themselves."""


def run_one(name: str, folder: Path, quick: bool, limit_s: float) -> Run:
    """Run a benchmark in a process of its own; what it printed is shown as it comes."""
    target = folder / f"{name}.json"
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(target)]
    command += ["--quick"] if quick else ARGUMENTS.get(name, [])
    print(f"\n==> {name}", flush=True)
    started_s = time.monotonic()
    log = folder / f"{name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            code: int | None = process.wait(timeout=max(1.0, limit_s))
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            code = None
    took_s = time.monotonic() - started_s
    printed = log.read_text(errors="replace")
    print(printed, flush=True)
    (folder / f"{name}.took").write_text(f"{took_s:.1f}")
    return load(name, folder, "stopped: the time for all benchmarks is over" if code is None else "")


def load(name: str, folder: Path, problem: str = "") -> Run:
    """What a benchmark left in the folder."""
    report: Report | None = None
    target, log, took = folder / f"{name}.json", folder / f"{name}.log", folder / f"{name}.took"
    if target.exists():
        report = read_report(target)
    elif not problem:
        last = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else ["it was not run"]
        problem = "\n".join(last)
    took_s = float(took.read_text()) if took.exists() else 0.0
    return Run(name, PARTS[name], report, took_s, problem)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a first look")
    parser.add_argument("--keep", type=Path, default=KEPT, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--page-only", action="store_true", help="run nothing, make the page of what is there"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args()
    present = [name for name in PARTS if find_spec(f"benchmarks.{name}") is not None]
    if unknown := set(options.names) - set(present):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    options.keep.mkdir(parents=True, exist_ok=True)
    deadline_s = time.monotonic() + BUDGET_S
    if not options.page_only:
        for name in options.names or present:
            run_one(name, options.keep, options.quick, deadline_s - time.monotonic())
    runs = [load(name, options.keep) for name in present]
    if options.names:
        runs = [run for run in runs if run.report is not None or run.name in options.names]
    write_page(options.page, runs, quick=options.quick)
    print(f"\nwritten: {options.page}")
    for run in runs:
        print(f"{run.name:16} {run.took_s:6.0f} s   {run.summary}")
    return 0 if all(run.passed for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
