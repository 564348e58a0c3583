"""Turns a segment of any length into a fixed number of memories."""

from __future__ import annotations

import torch
from torch import nn

from . import checks


class Abstractor(nn.Module):
    """Learned queries that each read the whole segment, followed by a small feed-forward network.

    Attention is an unscaled dot product with softmax over the sequence, after Park and Bak.

    Examples:
        >>> Abstractor(num_memories=8, hidden_dim=32, feedforward_dim=64)(torch.rand(2, 50, 32)).shape
        torch.Size([2, 8, 32])
    """

    def __init__(self, num_memories: int, hidden_dim: int, feedforward_dim: int) -> None:
        super().__init__()
        num_memories = checks.whole_number("num_memories", num_memories, 1)
        hidden_dim = checks.whole_number("hidden_dim", hidden_dim, 1)
        feedforward_dim = checks.whole_number("feedforward_dim", feedforward_dim, 1)
        self.query_embeddings = nn.Parameter(torch.empty(1, num_memories, hidden_dim))
        nn.init.normal_(self.query_embeddings, std=hidden_dim**-0.5)
        self.key_transform = nn.Linear(hidden_dim, hidden_dim)
        self.value_transform = nn.Linear(hidden_dim, hidden_dim)
        self.feedforward = nn.Linear(hidden_dim, feedforward_dim)
        self.output = nn.Linear(feedforward_dim, hidden_dim)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """[B, S, D] to [B, N, D]."""
        checks.segment("hidden_states", hidden_states, self.query_embeddings)
        keys = self.key_transform(hidden_states)
        values = self.value_transform(hidden_states)
        weights = torch.softmax(self.query_embeddings @ keys.transpose(1, 2), dim=-1)
        return self.output(self.feedforward(weights @ values))  # type: ignore[no-any-return]
