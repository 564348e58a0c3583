"""Random numbers for breaking ties."""

from __future__ import annotations

import torch

from .errors import InvalidState
from .kernels import FloatArray


class Draws:
    """Uniform numbers from the caller's generator, or from one of its own.

    Its own is seeded from torch's global generator at the first draw: runs repeat under
    `torch.manual_seed`, and a network that never meets a tie leaves the global generator as it was.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator
        self._given = generator is not None

    def uniform(self, number: int) -> FloatArray:
        """`number` values of [0, 1), float64."""
        if self._generator is None:
            seed = int(torch.randint(2**63 - 1, ()))
            self._generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(
            number, dtype=torch.float64, generator=self._generator, device=self._generator.device
        )
        values: FloatArray = drawn.cpu().numpy()
        return values

    def state(self) -> torch.Tensor:
        """The generator's state (uint8); empty if nothing was drawn yet."""
        if self._generator is None:
            return torch.empty(0, dtype=torch.uint8)
        return self._generator.get_state()

    def set_state(self, state: torch.Tensor) -> None:
        """Goes on from `state`.

        Raises:
            InvalidState: it is no state of a generator on this device.
        """
        if not state.numel():
            if not self._given:
                self._generator = None
            return
        generator = self._generator or torch.Generator()
        try:
            generator.set_state(state)
        except RuntimeError as error:
            raise InvalidState(f"'generator' of the state cannot be used: {error}") from error
        self._generator = generator
