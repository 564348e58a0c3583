"""Memoria inside a transformer block."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from . import checks
from .abstractor import Abstractor
from .autograd import without_autograd
from .errors import InvalidArgument, InvalidShape, InvalidState, MemoriaError
from .network import Memoria
from .state import checked_state, read_state, save_state

_LAST_SEGMENT = "last_segment"


class MemoriaLayer(nn.Module):
    """Lets the tokens of a segment read what earlier segments left behind.

    In each call an abstractor turns a segment into working memories, these remind the network of older
    ones, all tokens attend to both (residual, normalised first), and the attention that a reminded
    engram got becomes its lifespan: `lifespan_gain` on average, more for those that were looked at more.

    With `causal=True` the working memories are those of the segment of the call before, so that no token
    sees what comes after it in its own segment; the first call then has nothing to read and returns its
    input. With `causal=False` they are those of the segment itself. Gradients reach the abstractor and
    the attention through the working memories; reminded ones are constants, and so is what is kept from
    the last call.

    The memories are not in `state_dict()`: save them with `save_memory`, which also keeps the last segment
    of a causal layer (``layer.memoria.save`` does not know of it). Call `reset_memory` where a new batch of
    sequences begins. Not thread-safe.

    Examples:
        >>> layer = MemoriaLayer(
        ...     32, 4, 8, 64,
        ...     num_reminded_stm=4, stm_capacity=16, ltm_search_depth=5, initial_lifespan=3, num_final_ltms=4,
        ... )
        >>> for segment in torch.rand(3, 2, 10, 32):
        ...     output = layer(segment)
        >>> output.shape
        torch.Size([2, 10, 32])
    """

    def __init__(
        self,
        hidden_dim: int,
        num_heads: int,
        num_memories: int,
        feedforward_dim: int,
        *,
        num_reminded_stm: int,
        stm_capacity: int,
        ltm_search_depth: int,
        initial_lifespan: float,
        num_final_ltms: int,
        lifespan_gain: float = 5.0,
        causal: bool = True,
        dropout: float = 0.0,
        **memoria_options: Any,
    ) -> None:
        """`num_memories` and `feedforward_dim` are the abstractor's; `memoria_options` go to `Memoria`."""
        super().__init__()
        hidden_dim = checks.whole_number("hidden_dim", hidden_dim, 1)
        num_heads = checks.whole_number("num_heads", num_heads, 1)
        if hidden_dim % num_heads:
            raise InvalidArgument(f"hidden_dim {hidden_dim} cannot be shared by {num_heads} heads")
        self.lifespan_gain = checks.positive_number("lifespan_gain", lifespan_gain)
        self.causal = causal
        self.abstractor = Abstractor(num_memories, hidden_dim, feedforward_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.memory_norm = nn.LayerNorm(hidden_dim)
        self.attention = nn.MultiheadAttention(hidden_dim, num_heads, dropout=dropout, batch_first=True)
        self.memoria = Memoria(
            num_reminded_stm,
            stm_capacity,
            ltm_search_depth,
            initial_lifespan,
            num_final_ltms,
            **memoria_options,
        )
        self._previous: torch.Tensor | None = None

    def reset_memory(self) -> None:
        """Forgets all sequences."""
        self.memoria.reset_memory()
        self._previous = None

    def save_memory(self, path: str | os.PathLike[str]) -> None:
        """Writes the memories, and what the next call of a causal layer remembers, to a safetensors file.

        An existing file is replaced in one step. Parameters are not in it: they are in `state_dict()`.
        """
        state = self.memoria.state_dict()
        if self.causal and self._previous is not None:
            state[_LAST_SEGMENT] = self._previous.cpu()
        save_state(state, path)

    def load_memory(self, path: str | os.PathLike[str]) -> None:
        """Goes on from what `save_memory` of a layer with the same settings wrote.

        A file of ``layer.memoria.save`` will do as well; it holds no last segment.

        Raises:
            InvalidState: the file is something else, damaged, or of a layer with other settings. Nothing
                has changed.
        """
        state = read_state(path)
        previous = state.pop(_LAST_SEGMENT, None)
        if previous is not None:
            arrays, _ = checked_state(state)
            self._check_last_segment(previous, rows=arrays["data"].shape[0])
        self.memoria.load_state_dict(state)
        # A tensor from a file is not aligned, which changes the last bits of what is computed from it.
        self._previous = None if previous is None else _kept(previous)

    def _check_last_segment(self, segment: torch.Tensor, rows: int) -> None:
        hidden_dim = len(self.norm.weight)
        try:
            checks.float_tensor(_LAST_SEGMENT, segment, rank=3, shape_means="[batch, segment, hidden]")
            checks.all_finite(_LAST_SEGMENT, segment)
        except MemoriaError as error:
            raise InvalidState(f"the state cannot be used: {error}") from error
        if not segment.numel() or segment.shape[2] != hidden_dim or rows not in (0, segment.shape[0]):
            raise InvalidState(
                f"{_LAST_SEGMENT!r} of the state has shape {tuple(segment.shape)}; expected [batch, segment, "
                f"{hidden_dim}], with as many rows as the {rows} of the memories if there are any"
            )

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """[B, S, D] to [B, S, D], on the device and of the dtype of the parameters (or joined by autocast).

        B stays the same until `reset_memory`. A segment that cannot be read or remembered (another shape
        or dtype, empty, NaN, infinity) is refused, and everything stays as it was.
        """
        # Now, though only the next call may remember it: by then every call would raise.
        checks.any_tensor("hidden_states", hidden_states)
        checks.segment("hidden_states", hidden_states, self.norm.weight)
        if not hidden_states.numel():
            raise InvalidShape(f"hidden_states has shape {tuple(hidden_states.shape)}; no axis may be empty")
        checks.all_finite("hidden_states", hidden_states)
        source = self._previous if self.causal else hidden_states
        if source is None:
            self._previous = _kept(hidden_states)
            return hidden_states
        if source.shape[0] != hidden_states.shape[0]:
            raise InvalidShape(
                f"hidden_states has {hidden_states.shape[0]} rows; the memory has {source.shape[0]}. "
                "Call reset_memory() where new sequences begin"
            )
        # The one before may be from before `layer.to(...)`, or from inside of autocast.
        working = self.abstractor(source.to(hidden_states))
        self.memoria.add_working_memory(working.detach())
        reminded, indices = self.memoria.remind()
        memories = self.memory_norm(torch.cat([working, reminded], dim=1))
        nobody = torch.cat([indices.new_zeros(working.shape[:2], dtype=torch.bool), indices < 0], dim=1)
        read, weights = self.attention(self.norm(hidden_states), memories, memories, key_padding_mask=nobody)
        self.memoria.adjust_lifespan_and_memories(
            indices, self._gains(weights[..., working.shape[1] :], indices)
        )
        self._previous = _kept(hidden_states)
        return hidden_states + read  # type: ignore[no-any-return]

    @torch.no_grad()
    def _gains(self, weights: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Lifespan for each reminded engram, [B, R], from the attention of all tokens [B, S, R]."""
        attention = weights.float().mean(dim=1).masked_fill(indices < 0, 0.0)
        share = attention / attention.sum(dim=1, keepdim=True).clamp(min=1e-20)
        return share * (indices >= 0).sum(dim=1, keepdim=True) * self.lifespan_gain


@without_autograd
def _kept(hidden_states: torch.Tensor) -> torch.Tensor:
    """A copy that later calls can use whatever happens to the original, also outside of inference mode.

    Contiguous, as what comes back from a file is.
    """
    return hidden_states.clone(memory_format=torch.contiguous_format)
