"""Progress within one network, for a caller who shows it or wants to stop: a call between layers, and during the
drawing of a very large one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Generator, Tensor

BLOCK = 2**22  # entries drawn at a time, about 0.1 s; a multiple of the 16 normals that torch draws together


class Steps:
    """What of one network is done. Both calls reach ``on_layer(done, total)``, whose exception ends the measurement."""

    def __init__(self, on_layer: Callable[[int, int], Any] | None = None, total: int = 0) -> None:
        self._on_layer, self._done, self._total, self._repeated = on_layer, 0, total, 0

    @property
    def done(self) -> int:
        """How many steps are done."""
        return self._done

    def next(self) -> None:
        """One more step is done."""
        if self._repeated:
            self._repeated -= 1
        else:
            self._done += 1
        self.beat()

    def repeat(self) -> None:
        """What was done is done once more: its steps do not count again."""
        self._repeated = self._done

    def beat(self) -> None:
        """A step, or the wait for one, goes on."""
        if self._on_layer is not None:
            self._on_layer(self._done, self._total)

    def to_fill(self, weight: Tensor) -> Tensor:
        """What an initializer is to fill: the matrix itself, or, where it is very large and somebody listens, one on
        the same memory that beats while it is drawn."""
        return weight if self._on_layer is None or weight.numel() < 2 * BLOCK else _in_blocks(weight, self.beat)


def _in_blocks(weight: Tensor, beat: Callable[[], None]) -> Tensor:
    """The matrix, drawn block by block with a call after each: the same numbers, as torch draws entry after entry."""

    def fill(matrix: Tensor, draw: Callable[..., Tensor], *law: float, generator: Generator | None) -> Tensor:
        flat = matrix.as_subclass(Tensor).view(-1)
        blocks, rest = divmod(flat.numel(), BLOCK)
        for part in flat.split([BLOCK] * (blocks - 1) + [BLOCK + rest]):
            draw(part, *law, generator=generator)
            beat()
        return matrix

    class InBlocks(Tensor):  # also what torch's initializers derive from it, which draw there before they copy
        def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
            return fill(self, Tensor.normal_, mean, std, generator=generator)

        def uniform_(self, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None) -> Tensor:
            return fill(self, Tensor.uniform_, low, high, generator=generator)

        def __setitem__(self, where: Any, value: Any) -> None:
            super().__setitem__(where, value)
            beat()

    return weight.detach().as_subclass(InBlocks)
