"""What hot memory adds to the contract of every tier: devices, precision, layouts, lending."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from memories.errors import CapacityExceeded, InvalidType, InvalidValue, KeyNotFound
from memories.tiers.blobs import Blob
from memories.tiers.hot_memory import HotMemory
from memories.tiers.warm_memory import WarmMemory
from tests.support.clock import ManualClock
from tests.support.tier_values import VALUES, assert_same

KB = 1024
GB = 10**9
CPU = {"device": "cpu"}


def kilobytes(count: int, fill: float = 0.0) -> torch.Tensor:
    return torch.full((count * 256,), fill)


def test_the_seed_configuration_works_without_a_gpu() -> None:
    config: dict[str, Any] = {
        "size_gb": 2,
        "device": "cuda:0",
        "precision": "float16",
        "garbage_collection_threshold": 0.8,
    }
    if torch.cuda.is_available():
        hot = HotMemory(**config)
        assert hot.device == "cuda:0"
    else:
        with pytest.warns(RuntimeWarning, match="no CUDA device"):
            hot = HotMemory(**config)
        assert hot.device == "cpu"
    hot.store("weights", torch.ones(3))
    assert hot.retrieve("weights").dtype == torch.float16


@pytest.mark.parametrize(
    "arguments",
    [
        {"device": "gpu"},
        {"device": "cuda:99"} if torch.cuda.is_available() else {"device": "xyz:0"},
        {"device": []},
        {"device": 3},
        {"precision": "float8"},
        {"precision": torch.float16},
        {"garbage_collection_threshold": 0},
        {"garbage_collection_threshold": 1.5},
        {"garbage_collection_threshold": "80%"},
        {"garbage_collection_threshold": float("nan")},
        {"size_gb": 0},
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any]) -> None:
    with pytest.raises((InvalidValue, InvalidType)):
        HotMemory(**{**CPU, **arguments})


# Values


def test_tensors_come_back_as_what_they_were() -> None:
    with HotMemory(1, **CPU) as hot:
        parameter = torch.nn.Parameter(torch.ones(3), requires_grad=False)
        hot.store("parameter", parameter)
        read = hot.retrieve("parameter")
        assert type(read) is torch.nn.Parameter
        assert not read.requires_grad
        hot.store("graph", (torch.ones(3, requires_grad=True) * 2).sum())
        leaf = hot.retrieve("graph")
        assert leaf.requires_grad
        assert leaf.is_leaf
        hot.store(
            "channels last", torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last)
        )
        assert hot.retrieve("channels last").is_contiguous(memory_format=torch.channels_last)
        hot.store("slice", torch.arange(1_000.0)[10:20])
        assert hot.entry("slice").nbytes == 40
        hot.store("expanded", torch.zeros(1).expand(100, 100))
        assert torch.equal(hot.retrieve("expanded"), torch.zeros(100, 100))
        hot.store("conjugated", torch.tensor([1 + 2j]).conj())
        assert hot.retrieve("conjugated").resolve_conj().tolist() == [1 - 2j]
        sparse = torch.eye(3).to_sparse()
        hot.store("sparse", sparse)
        assert torch.equal(hot.retrieve("sparse").to_dense(), torch.eye(3))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "complex64", "uint16", "bool"])
def test_every_dtype_is_kept(dtype: str) -> None:
    tensor = torch.tensor([0, 1, 1, 0]).to(getattr(torch, dtype))
    with HotMemory(1, **CPU) as hot, WarmMemory(1) as warm:
        hot.store("tensor", tensor)
        assert_same(hot.retrieve("tensor"), tensor)
        warm.put_blob(hot.get_blob("tensor"))
        assert_same(warm.retrieve("tensor"), tensor)


def test_a_state_dict_goes_into_a_module_again() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8))
    state = model.state_dict()
    with HotMemory(1, **CPU) as hot:
        hot.store("weights", state)
        with torch.no_grad():
            model[0].weight.zero_()
        read = hot.retrieve("weights")
        assert type(read) is OrderedDict
        assert read._metadata == state._metadata  # type: ignore[attr-defined]
        model.load_state_dict(read)
        assert model[0].weight.abs().sum() > 0


def test_a_container_in_a_circle_is_refused() -> None:
    circle: list[Any] = [torch.ones(1)]
    circle.append(circle)
    with HotMemory(1, **CPU) as hot:
        with pytest.raises(InvalidValue, match="contains itself"):
            hot.store("circle", circle)
        assert len(hot) == 0


def test_an_array_is_read_without_a_copy_and_cannot_be_written_to() -> None:
    with HotMemory(1, **CPU) as hot:
        hot.store("array", np.arange(1_000))
        read = hot.retrieve("array")
        assert np.shares_memory(read, hot.retrieve("array"))
        with pytest.raises(ValueError):
            read[0] = 1
        mine = hot.retrieve("array", copy=True)
        mine[:] = 0
        assert_same(hot.retrieve("array"), np.arange(1_000))


def test_a_tensor_can_be_lent() -> None:
    with HotMemory(1, **CPU) as hot:
        hot.store("tensor", torch.ones(10))
        lent = hot.lend("tensor")
        assert lent.data_ptr() == hot.lend("tensor").data_ptr()
        assert lent.data_ptr() != hot.retrieve("tensor").data_ptr()
        hot.store("array", np.ones(3))
        with pytest.raises(InvalidType):
            hot.lend("array")
        with pytest.raises(KeyNotFound):
            hot.lend("absent")


# Precision


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_precision_narrows_what_is_floating(precision: str) -> None:
    narrow = getattr(torch, precision)
    values = torch.tensor([0.1, -2.5, 3.0], dtype=torch.float64)
    with HotMemory(1, precision=precision, **CPU) as hot:
        hot.store("mixed", {"x": values, "ids": torch.tensor([1, 2]), "y": values.numpy(), "z": 0.1})
        read = hot.retrieve("mixed")
        assert_same(read["x"], values.to(narrow))
        assert_same(read["ids"], torch.tensor([1, 2]))
        # NumPy has no bfloat16: the rounded values come back in the next wider type.
        wide = values.to(narrow).float().numpy() if precision == "bfloat16" else values.to(narrow).numpy()
        assert_same(read["y"], wide)
        assert read["z"] == 0.1
        assert hot.used_bytes == 6 * narrow.itemsize + 16 + 8


def test_precision_never_widens() -> None:
    with HotMemory(1, precision="float32", **CPU) as hot:
        hot.store("half", torch.ones(3, dtype=torch.float16))
        assert hot.retrieve("half").dtype == torch.float16
    with HotMemory(1, precision="float16", **CPU) as hot:
        hot.store("brain", torch.full((3,), 1e30, dtype=torch.bfloat16))
        assert_same(hot.retrieve("brain"), torch.full((3,), 1e30, dtype=torch.bfloat16))


def test_what_the_precision_cannot_hold_is_refused() -> None:
    with HotMemory(1, precision="float16", **CPU) as hot:
        with pytest.raises(InvalidValue, match="beyond the range of float16"):
            hot.store("large", torch.tensor([1.0, 70_000.0]))
        hot.store("infinite", torch.tensor([torch.inf, -torch.inf]))
        assert list(hot.keys()) == ["infinite"]


# Moving


def test_every_kind_of_value_moves_to_another_tier_and_back() -> None:
    with HotMemory(1, **CPU) as hot, WarmMemory(1) as warm:
        for name, make in VALUES.items():
            hot.store(name, make())
            warm.put_blob(hot.get_blob(name))
            hot.delete(name)
            hot.put_blob(warm.get_blob(name))
            assert_same(hot.retrieve(name), make())


def test_a_blob_that_moved_keeps_its_precision() -> None:
    with HotMemory(1, precision="float16", **CPU) as hot, WarmMemory(1) as warm:
        warm.store("wide", torch.tensor([1e10]))
        hot.put_blob(warm.get_blob("wide"))
        assert_same(hot.retrieve("wide"), torch.tensor([1e10]))


# Devices


def test_values_spread_over_the_devices() -> None:
    with HotMemory(200 * KB / GB, device=["cpu:0", "cpu:1"]) as hot:
        assert hot.devices == ("cpu:0", "cpu:1")
        hot.store("a", kilobytes(60))
        hot.store("b", kilobytes(40))
        hot.store("c", kilobytes(40))
        devices = hot.get_metrics()["devices"]
        assert devices["cpu:0"]["used_bytes"] == 60 * KB
        assert devices["cpu:1"] == {
            "used_bytes": 80 * KB,
            "capacity_bytes": 100 * KB,
            "usage_percent": 80.0,
        }
        with pytest.raises(CapacityExceeded, match="cpu:0"):
            hot.store("d", kilobytes(50))
        hot.store("d", kilobytes(15), device="cpu:1")
        assert hot.get_metrics()["devices"]["cpu:1"]["used_bytes"] == 95 * KB
        hot.store("b", kilobytes(30), device="cpu:0")
        assert hot.get_metrics()["devices"]["cpu:0"]["used_bytes"] == 90 * KB
        assert hot.get_metrics()["devices"]["cpu:1"]["used_bytes"] == 55 * KB
        with pytest.raises(InvalidValue):
            hot.store("e", 1, device="cpu:2")


def test_high_priority_takes_the_place_of_low_priority_on_its_device() -> None:
    with HotMemory(200 * KB / GB, device=["cpu:0", "cpu:1"], on_full="evict") as hot:
        hot.store("low 0", kilobytes(80), device="cpu:0", priority=-1)
        hot.store("low 1", kilobytes(60), device="cpu:1", priority=-5)
        hot.store("high", kilobytes(90), priority=5, device="cpu:0")
        assert sorted(hot.keys()) == ["high", "low 1"]
        with pytest.raises(CapacityExceeded):
            hot.store("low again", kilobytes(50), device="cpu:0")
        hot.store("low again", kilobytes(50))
        assert sorted(hot.keys()) == ["high", "low again"]


def test_usage_above_the_threshold_collects_garbage_once() -> None:
    clock = ManualClock()
    with HotMemory(100 * KB / GB, garbage_collection_threshold=0.5, clock=clock, **CPU) as hot:
        hot.store("brief", kilobytes(40), ttl=5)
        assert hot.get_metrics()["garbage_collections"] == 0
        hot.store("more", kilobytes(20))
        assert hot.get_metrics()["garbage_collections"] == 1
        hot.store("even more", kilobytes(5))
        assert hot.get_metrics()["garbage_collections"] == 1
        clock.advance(5)
        assert hot.collect_garbage() == 40 * KB


# Layouts


def test_a_transposed_tensor_becomes_contiguous() -> None:
    matrix = torch.arange(12.0).reshape(3, 4).t()
    with HotMemory(1, **CPU) as hot:
        hot.store("matrix", matrix)
        assert not hot.lend("matrix").is_contiguous()
        report = hot.optimize_layout("matrix")
        assert report.changed == 1
        assert hot.lend("matrix").is_contiguous()
        assert_same(hot.retrieve("matrix"), matrix)
        assert hot.optimize_layout("matrix").changed == 0


def test_images_become_channels_last() -> None:
    images = torch.rand(2, 3, 8, 8)
    with HotMemory(1, **CPU) as hot:
        hot.store("images", images)
        assert hot.optimize_layout("images", "channels_last").changed == 1
        assert hot.lend("images").is_contiguous(memory_format=torch.channels_last)
        assert_same(hot.retrieve("images"), images)


def test_a_state_dict_becomes_one_allocation() -> None:
    state = {f"layer {i}": {"w": torch.rand(3, 5), "b": torch.rand(5).half(), "n": i} for i in range(20)}
    state["array"] = np.arange(7)  # type: ignore[assignment]
    with HotMemory(1, **CPU) as hot, WarmMemory(1) as warm:
        hot.store("state", state)
        report = hot.optimize_layout("state")
        assert (report.allocations_before, report.allocations_after) == (41, 1)
        assert report.changed == 41
        assert report.bytes_after <= report.bytes_before + 41 * 64
        assert hot.used_bytes == report.bytes_after
        assert_same(hot.retrieve("state"), state)
        warm.put_blob(hot.get_blob("state"))
        assert_same(warm.retrieve("state"), state)
        # What was read does not share the block.
        hot.retrieve("state")["layer 0"]["w"].zero_()
        assert_same(hot.retrieve("state"), state)
        assert hot.delete("state")
        assert hot.used_bytes == 0


@pytest.mark.parametrize("value", ["text", 5, torch.tensor(3), np.array(["a"]), [1, 2]])
def test_what_has_no_better_layout_stays_as_it_is(value: Any) -> None:
    with HotMemory(1, **CPU) as hot:
        hot.store("value", value)
        assert hot.optimize_layout("value").changed == 0
        assert_same(hot.retrieve("value"), value)


def test_layouts_that_cannot_be() -> None:
    with HotMemory(1, **CPU) as hot:
        with pytest.raises(KeyNotFound):
            hot.optimize_layout("absent")
        hot.store("key", torch.ones(1))
        with pytest.raises(InvalidValue):
            hot.optimize_layout("key", "diagonal")


# Records


def test_the_record_of_a_blob_that_moves_is_complete() -> None:
    with HotMemory(1, **CPU) as hot:
        hot.store("tensor", torch.arange(10_000.0))
        assert hot.entry("tensor").nbytes == 40_000
        blob: Blob = hot.get_blob("tensor")
        assert blob.record.lengths == (40_000,)
        assert len(blob.record.checksums) == 1
        assert blob.record.header


# On a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_live_on_the_gpu() -> None:
    with HotMemory(1) as hot, WarmMemory(1) as warm:
        assert hot.device == "cuda:0"
        state = {"w": torch.rand(100, 100), "ids": np.arange(5), "name": "x"}
        hot.store("state", state)
        read = hot.retrieve("state")
        assert read["w"].device == torch.device("cuda:0")
        assert torch.equal(read["w"].cpu(), state["w"])
        assert_same(read["ids"], state["ids"])
        before = torch.cuda.memory_allocated()
        hot.optimize_layout("state")
        assert torch.cuda.memory_allocated() <= before + 512
        warm.put_blob(hot.get_blob("state"))
        assert_same(warm.retrieve("state"), state)
        hot.put_blob(warm.get_blob("state"))
        assert hot.retrieve("state", copy=True)["w"].device.type == "cuda"
        hot.store("rows", torch.arange(100.0).reshape(50, 2))
        assert hot.retrieve("rows", rows=[3, 1]).tolist() == [[6.0, 7.0], [2.0, 3.0]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_device_without_room_is_a_clear_error() -> None:
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    with HotMemory(total_bytes / GB, device="cuda:0") as hot:
        taken = torch.empty(max(1, free_bytes - 2**28), dtype=torch.uint8, device="cuda:0")
        with pytest.raises(CapacityExceeded, match="no memory left"):
            hot.store("large", torch.empty(2**30, dtype=torch.uint8))
        del taken
        assert len(hot) == 0
