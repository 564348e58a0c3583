"""`python -m benchmarks [--quick] [NAME ...]`: run benchmarks one by one, write docs/benchmarks.md.

Every benchmark runs in a process of its own, alone. Its printed tables go into the page as they are.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
NAMES = (
    "imports",
    "tiers_local",
    "metadata_query",
    "policies",
    "tiers_s3",
    "replay_local",
    "replay_sb3",
    "memoria",
)


def machine() -> str:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a first look")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    parts = [
        "# Benchmarks\n",
        "Written by `make bench`. Peers run in venvs of their own and do the same work; ratios are medians "
        "of paired runs on one machine, and only ratios within one run mean anything.\n",
        f"Machine: {machine()}. {'Quick sizes.' if options.quick else 'Full sizes.'}\n",
    ]
    failed = []
    for name in options.names or NAMES:
        print(f"==> {name}", flush=True)
        started_s = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if options.quick else [])]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        took_s = time.monotonic() - started_s
        if done.returncode:
            failed.append(name)
        title = f"## {name}\n\n`python -m benchmarks.{name}`, {took_s:.0f} s\n"
        parts.append(f"{title}\n```text\n{done.stdout.strip()}\n```\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    if failed:
        print(f"exit code not 0 (a bar that was not met, or a failure): {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
