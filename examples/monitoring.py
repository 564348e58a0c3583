"""Watch the memory of this host while a program works, and be told when it runs short.

python examples/monitoring.py [--quick]
"""

from __future__ import annotations

import argparse
import threading

import numpy as np

from memory import INFO, MemoryMonitor, MemorySample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="little work")
    quick = parser.parse_args().quick
    print(INFO().display_info())

    samples: list[MemorySample] = []
    enough = threading.Event()

    def watch(sample: MemorySample) -> None:
        samples.append(sample)
        if sample.percent > 90:
            print("memory runs short:", sample)
        if len(samples) >= 10:
            enough.set()

    # The monitor has a thread of its own, which ends with the block.
    with MemoryMonitor(interval=0.05 if quick else 0.5, callback=watch):
        ballast = []
        while not enough.wait(0.02 if quick else 0.2):
            if len(ballast) < 20:
                ballast.append(np.ones(2**18 if quick else 2**22))

    grown = max(sample.process_bytes for sample in samples) - samples[0].process_bytes
    print(f"{len(samples)} samples; this process grew by {grown / 2**20:.0f} MB")
    print(samples[-1])


if __name__ == "__main__":
    main()
