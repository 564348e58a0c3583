"""What importing costs: each light package beside NumPy alone, in new processes that take turns.

    python -m benchmarks.imports [--quick] [--json FILE]

Bar: at most 0.5 s more than NumPy alone (medians).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.bars import Report, options_of

MODULES = ("numpy", "memories", "memories.tiers", "memories.replay")
BAR_S = 0.5


def import_s(module: str) -> float:
    """Seconds from the start of an interpreter to the end of the import."""
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import numpy, {module}"], check=True)
    return time.perf_counter() - started_s


def main() -> int:
    options = options_of(__doc__, "three rounds instead of eleven").parse_args()
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    for module in MODULES:
        import_s(module)  # compiled files and the page cache are there for all
    for _ in range(3 if options.quick else 11):
        for module in MODULES:
            times[module].append(import_s(module))
    report = Report("imports")
    base_s = statistics.median(times["numpy"])
    report.figure("import numpy", base_s * 1e3, "ms", (min(times["numpy"]) * 1e3, max(times["numpy"]) * 1e3))
    for module in MODULES[1:]:
        more = [(mine - other) * 1e3 for mine, other in zip(times[module], times["numpy"], strict=True)]
        report.at_most(
            f"import {module}: more than NumPy alone",
            BAR_S * 1e3,
            statistics.median(more),
            "ms",
            (min(more), max(more)),
            f"{statistics.median(times[module]) / base_s:.2f} times NumPy's",
        )
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
