"""Half precision, inference mode, gradients, devices, and what importing costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from memoria import Abstractor, Memoria, MemoriaLayer


def step(network: Memoria, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    network.add_working_memory(data)
    memories, indices = network.remind()
    network.adjust_lifespan_and_memories(indices, torch.ones_like(indices, dtype=data.dtype))
    return memories, indices


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_memories_come_back_in_the_dtype_of_the_data(dtype: torch.dtype) -> None:
    network, exact = (Memoria(3, 6, 3, 5, 3, tie_break="first") for _ in range(2))
    torch.manual_seed(0)
    for _ in range(12):
        data = torch.rand(2, 4, 8).to(dtype)
        memories, indices = step(network, data)
        exact_memories, exact_indices = step(exact, data.float())
        assert memories.dtype == dtype
        assert torch.equal(indices, exact_indices)
        assert torch.equal(memories.float(), exact_memories)
    assert network.engrams.data.dtype == torch.float32


def test_a_network_filled_in_inference_mode_can_be_used_outside_of_it() -> None:
    network = Memoria(3, 6, 3, 5, 3)
    with torch.inference_mode():
        for _ in range(4):
            step(network, torch.rand(2, 4, 8))
        state = network.state_dict()
    for _ in range(4):
        step(network, torch.rand(2, 4, 8))
    network.load_state_dict(state)
    network.engrams.lifespan += 1
    with torch.inference_mode():
        step(network, torch.rand(2, 4, 8))


def test_nothing_takes_part_in_gradients() -> None:
    network = Memoria(3, 6, 3, 5, 3)
    for _ in range(3):
        data = torch.rand(2, 4, 8, requires_grad=True)
        network.add_working_memory(data * 2)
        memories, indices = network.remind()
        assert not memories.requires_grad
        attention = torch.rand(indices.shape, requires_grad=True)
        network.adjust_lifespan_and_memories(indices, attention * 3)
    assert not network.engrams.lifespan.requires_grad
    assert not network.engrams.data.requires_grad


def test_the_abstractor_reads_a_segment_into_a_fixed_number_of_memories() -> None:
    torch.manual_seed(0)
    abstractor = Abstractor(4, 8, 16)
    data = torch.rand(2, 9, 8)
    memories = abstractor(data)
    assert memories.shape == (2, 4, 8)
    keys = data @ abstractor.key_transform.weight.T + abstractor.key_transform.bias
    values = data @ abstractor.value_transform.weight.T + abstractor.value_transform.bias
    weights = torch.einsum("nd,bsd->bns", abstractor.query_embeddings[0], keys).softmax(-1)
    by_hand = abstractor.output(abstractor.feedforward(torch.einsum("bns,bsd->bnd", weights, values)))
    assert torch.allclose(memories, by_hand, atol=1e-6)
    memories.sum().backward()
    assert all(parameter.grad is not None for parameter in abstractor.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(tmp_path) -> None:
    on_cpu, on_gpu = (Memoria(3, 6, 3, 5, 3, tie_break="first") for _ in range(2))
    torch.manual_seed(0)
    for _ in range(40):
        data = torch.rand(3, 4, 8)
        memories, indices = step(on_cpu, data)
        gpu_memories, gpu_indices = step(on_gpu, data.cuda())
        assert gpu_memories.is_cuda
        assert gpu_indices.is_cuda
        assert torch.equal(gpu_indices.cpu(), indices)
        assert torch.equal(gpu_memories.cpu(), memories)
    assert on_gpu.engrams.lifespan.is_cuda
    on_gpu.save(tmp_path / "a")
    restored = Memoria.load(tmp_path / "a", device="cuda")
    assert restored.engrams == on_gpu.engrams


def test_data_elsewhere_than_the_state_comes_back_where_it_was() -> None:
    network = Memoria(3, 6, 3, 5, 3, device="cpu")
    memories, indices = step(network, torch.rand(1, 2, 3))
    assert memories.device == indices.device == network.engrams.device == torch.device("cpu")


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_everything_is_float32_whatever_torchs_default_is(default: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        network, other = (Memoria(3, 6, 3, 257, 3) for _ in range(2))
        data = torch.rand(2, 4, 8, dtype=torch.float32)
        network.add_working_memory(data)
        assert torch.equal(network.engrams.data, data)
        assert network.engrams.lifespan.dtype == torch.float32
        assert network.engrams.lifespan.unique().tolist() == [257]
        assert network.engrams.select(torch.tensor([[-1], [-1]])).data.dtype == torch.float32
        other.load_state_dict(network.state_dict())
        for _ in range(4):
            step(network, data)
    finally:
        torch.set_default_dtype(before)


def test_torchs_default_device_is_not_where_the_state_is() -> None:
    network, restored = Memoria(3, 6, 3, 5, 3), Memoria(3, 6, 3, 5, 3)
    with torch.device("meta"):
        layer = MemoriaLayer(
            8, 2, 3, 16,
            num_reminded_stm=3, stm_capacity=6, ltm_search_depth=3, initial_lifespan=5, num_final_ltms=3,
        )  # fmt: skip
        for _ in range(4):
            step(network, torch.rand(2, 4, 8, device="cpu"))
        restored.load_state_dict(network.state_dict())
    assert restored.engrams == network.engrams
    layer.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.1)
    for _ in range(3):
        layer(torch.rand(2, 6, 8))


def test_importing_loads_neither_ray_nor_numba() -> None:
    code = "import sys, memoria; print([m for m in ('ray', 'numba', 'memories') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
