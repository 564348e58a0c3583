"""Random numbers for breaking ties."""

from __future__ import annotations

import torch

from .errors import InvalidState
from .kernels import FloatArray


class Draws:
    """Uniform numbers from the caller's generator, or from one of its own.

    Its own is seeded from torch's global generator at the first draw, or at the first save before it, so
    that the copy that is saved and the one that goes on draw the same. Runs repeat under
    `torch.manual_seed`, and a network that never meets a tie nor is saved leaves the global generator as
    it was.
    """

    def __init__(self, generator: torch.Generator | None) -> None:
        self._generator = generator
        self._given = generator is not None

    def uniform(self, number: int) -> FloatArray:
        """`number` values of [0, 1), float64."""
        generator = self._seeded()
        drawn = torch.rand(number, dtype=torch.float64, generator=generator, device=generator.device)
        values: FloatArray = drawn.cpu().numpy()
        return values

    def state(self, *, will_draw: bool) -> torch.Tensor:
        """The generator's state (uint8); seeds one of its own that has not drawn yet if it `will_draw`.

        Empty if there is no generator, nor need of one.
        """
        if self._generator is None and not will_draw:
            return torch.empty(0, dtype=torch.uint8, device="cpu")
        return self._seeded().get_state()

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

    def _seeded(self) -> torch.Generator:
        if self._generator is None:
            seed = int(torch.randint(2**63 - 1, (), device="cpu"))
            self._generator = torch.Generator().manual_seed(seed)
        return self._generator
