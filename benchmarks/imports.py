"""What importing costs: each light package beside NumPy alone, in new processes that take turns.

    python -m benchmarks.imports [--quick] [--json FILE]

Bar: at most 0.5 s more than NumPy alone (medians).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODULES = ("numpy", "memories", "memories.tiers", "memories.replay")
BAR_S = 0.5


def import_s(module: str) -> float:
    """Seconds from the start of an interpreter to the end of the import."""
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import numpy, {module}"], check=True)
    return time.perf_counter() - started_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of eleven")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    for module in MODULES:
        import_s(module)  # compiled files and the page cache are there for all
    for _ in range(3 if options.quick else 11):
        for module in MODULES:
            times[module].append(import_s(module))
    medians = {module: statistics.median(found) for module, found in times.items()}
    rows = []
    for module in MODULES[1:]:
        more_s = medians[module] - medians["numpy"]
        ratio = medians[module] / medians["numpy"]
        rows.append(
            {"module": module, "more_s": more_s, "ratio": ratio, "bar_s": BAR_S, "met": more_s <= BAR_S}
        )
        print(
            f"{module:18} {more_s * 1e3:7.0f} ms more than NumPy's {medians['numpy'] * 1e3:.0f} ms "
            f"({ratio:.2f}x), bar {BAR_S * 1e3:.0f} ms: {'met' if more_s <= BAR_S else 'NOT met'}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
