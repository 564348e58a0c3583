"""What a driver has stored is read after the driver's end as it was before: through its reference, in place.

An object of Ray's belongs to the process that put it. If these tests fail with a newer Ray, values have to be
adopted: see decision 135.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import ray

from memories.actors import wire
from memories.actors.calls import Deadline
from memories.actors.cluster import Cluster
from memories.actors.memory_manager import MemoryManager
from memories.actors.readings import ReadMany

from .conftest import MB, wait_until
from .test_exchange import store_used_bytes

ITEMS = MB
"""Numbers in a value of 8 MiB."""

WRITER = """
import sys
import numpy as np
from memories.actors.cluster import connect
cluster, address, items = sys.argv[1:]
opened = connect(address, name=cluster)
opened.memory().store("left", np.arange(int(items), dtype=np.float64), tier="warm")
print("stored", flush=True)
sys.stdin.readline()
opened.close()
"""

READER = """
import sys
import numpy as np
from memories.actors.cluster import connect
cluster, address, items = sys.argv[1:]
first, second = (connect(address, name=cluster).memory().retrieve("left") for _ in range(2))
assert np.array_equal(first, np.arange(int(items), dtype=np.float64))
print(np.shares_memory(first, second))
"""


def arguments(cluster: Cluster, code: str) -> list[str]:
    address = ray.get_runtime_context().gcs_address
    return [sys.executable, "-c", code, cluster.name, address, str(ITEMS)]


def end_writer(cluster: Cluster, how: str) -> None:
    """A driver stores a value and ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments(cluster, WRITER), stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "stored\n"
        if how == "killed":
            os.kill(writer.pid, signal.SIGKILL)
        writer.communicate("\n" if how == "ended" else None, timeout=60)


def handed_reference(memory: MemoryManager, key: str) -> ray.ObjectRef[Any]:
    """What the tier answers to a reader on its own node."""
    client = memory._client
    (located,) = client.locate_many([key], touch=False)
    member, incarnation = located.members[0]
    actor = client._connection.tier_actor(member, Deadline.after(30, "finding the tier"))
    request = ReadMany(incarnation, (key,), (located.version,), client.node)
    ref = wire.load(ray.get(actor.read.remote(wire.dump(request)), timeout=30)).others[0].ref
    assert isinstance(ref, ray.ObjectRef)
    return ref


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_reference_outlives_the_driver_that_stored_the_value(
    memory: MemoryManager, cluster: Cluster, how: str
) -> None:
    before = store_used_bytes()
    end_writer(cluster, how)
    (array,) = ray.get(handed_reference(memory, "left"), timeout=10)
    assert np.array_equal(array.view(np.float64), np.arange(ITEMS, dtype=np.float64))
    first, second = memory.retrieve("left"), memory.retrieve("left")
    assert np.shares_memory(first, second), "in place, no copy for each read"
    assert np.shares_memory(first.view(np.uint8), array)
    # A reader that did not know the value while its owner lived finds it in the same way.
    done = subprocess.run(arguments(cluster, READER), capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr
    assert store_used_bytes() - before < 1.5 * 8 * ITEMS, "once in the object store"
    del array, first, second
    memory.delete("left")
    wait_until(lambda: store_used_bytes() - before < MB, 30)
