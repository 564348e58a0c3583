"""Whatever is handed to `decode`, it ends in a value, `CorruptData` or `PickleRefused`."""

from __future__ import annotations

import random
import resource
from typing import Any

import msgpack
import pytest

from memories.errors import CorruptData, PickleRefused
from memories.tiers.codec import decode, encode
from memories.tiers.encoded import Encoded
from tests.support.values import all_values

VALUES = all_values()
ENCODED = [encode(value) for value in VALUES.values()]

_NUMBERS = [
    0,
    1,
    -1,
    2,
    7,
    8,
    255,
    2**31,
    2**62,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
    1.5,
    None,
    True,
    "",
    b"",
    "x",
]


def survives(header: bytes, buffers: list[memoryview]) -> None:
    try:
        decode(header, buffers)
        decode(header, buffers, writable=True)
    except (CorruptData, PickleRefused):
        pass


def mutated_tree(tree: Any, generator: random.Random) -> Any:
    """The tree with one place changed."""
    if type(tree) is dict:
        return {key: mutated_tree(item, generator) for key, item in tree.items()}
    if type(tree) is list and tree and generator.random() < 0.9:
        at = generator.randrange(len(tree))
        return [*tree[:at], mutated_tree(tree[at], generator), *tree[at + 1 :]]
    return generator.choice([*_NUMBERS, [], [tree], tree, _random_node(generator)])


def _random_node(generator: random.Random) -> Any:
    other = generator.choice(ENCODED)
    return msgpack.unpackb(other.header, unicode_errors="surrogatepass").get("tree")


def mutated(encoded: Encoded, generator: random.Random) -> tuple[bytes, list[memoryview]]:
    header, buffers = bytearray(encoded.header), [bytearray(b) for b in encoded.buffers]
    kind = generator.randrange(5)
    if kind == 0:
        for _ in range(generator.randint(1, 4)):
            header[generator.randrange(len(header))] = generator.randrange(256)
    elif kind == 1:
        header = header[: generator.randrange(len(header) + 1)]
    elif kind == 2 and buffers:
        target = generator.choice(buffers)
        if target:
            target[generator.randrange(len(target))] ^= 1 << generator.randrange(8)
    elif kind == 3 and buffers:
        at = generator.randrange(len(buffers))
        change = generator.choice(["cut", "drop", "swap", "grow"])
        if change == "cut":
            buffers[at] = buffers[at][: len(buffers[at]) // 2]
        elif change == "drop":
            del buffers[at]
        elif change == "grow":
            buffers[at] += b"more"
        else:
            generator.shuffle(buffers)
    else:
        tree = msgpack.unpackb(bytes(header), unicode_errors="surrogatepass")
        header = bytearray(
            msgpack.packb(mutated_tree(tree, generator), use_bin_type=True, unicode_errors="surrogatepass")
        )
    return bytes(header), [memoryview(b) for b in buffers]


def run(seed: int, rounds: int) -> None:
    generator = random.Random(seed)
    for _ in range(rounds):
        survives(*mutated(generator.choice(ENCODED), generator))


def test_mutations_end_in_a_typed_error_or_a_value() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run(seed=1, rounds=1500)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_mutations_end_in_a_typed_error_or_a_value(seed: int) -> None:
    run(seed, rounds=5000)


def test_noise_ends_in_a_typed_error() -> None:
    generator = random.Random(3)
    for _ in range(500):
        survives(generator.randbytes(generator.randrange(60)), [memoryview(generator.randbytes(64))])


@pytest.mark.parametrize(
    "tree",
    [
        ["array", False, "<f8", [2**62, 2**62], [], 0],
        ["array", False, "<f8", [-1], [], b""],
        ["array", False, "|O", [8], [], 0],
        ["array", False, ["struct", 8, False, False, [["a", None, "|O", 0]]], [8], [], 0],
        ["array", False, "<f8", [8], [0, 0], 0],
        ["list", ["bytes", 64, 0], ["bytes", 64, 0]],
        ["dict", 1, 2, 1, 3],
        ["set", ["list", 1]],
        ["numbers", "list", "<f8", 2**60, b""],
        ["pickle", 0, []],
        ["arrow", "table", b"nonsense", 1, []],
        ["tensor", "tensor", "load", "cpu", False, 1, [64], [], 0],
        ["odict", ["dict", "__class__", 1]],
        {"not": "a node"},
    ],
    ids=str,
)
def test_hostile_trees(tree: Any) -> None:
    header = msgpack.packb({"format": 1, "tree": tree})
    with pytest.raises((CorruptData, PickleRefused)):
        decode(header, [memoryview(bytes(64))])


def test_deep_trees_do_not_exhaust_the_stack() -> None:
    for depth in (300, 450, 900, 100_000):
        packed = b"\x82\xa6format\x01\xa4tree" + b"\x92\xa4list" * depth + b"\x01"
        with pytest.raises(CorruptData):
            decode(packed, [])
