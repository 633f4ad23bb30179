"""What is measured of a group of networks, layer by layer: sums written down on the way, logarithms taken at the end.

Every number of a network is a function of that network alone. A quick sum holds within the range of its precision (see
``statistics.Range``); one outside is computed again by the careful functions of ``statistics``, which needs the tensor:
at once if the ledger is ``careful``, else ``rows`` is None at the end and the group is to be run again, carefully.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gradcore.measure import statistics
from gradcore.measure.statistics import LN2, RANGES

if TYPE_CHECKING:
    from gradcore.spec import Spec

Array = np.ndarray
LOGS = ("log_q", "log_p", "log_g", "log_dw", "log_db")
SHARES = ("correlation", "saturated", "dead")
ALL = slice(None)
norm = torch.linalg.vector_norm


ROW = 4096  # entries that are summed one after another in the networks' own precision: an error of 1e-6 in float32
WAITING, MOST_WAITING = 2**18, 8  # entries that wait in a queue, which stay in a core's cache, and layers


def _norms(t: Tensor, out: Tensor) -> None:
    """The root of the sum of squares of each slice (..., i, j), by rows that are joined where they are short."""
    rows, columns = t.shape[-2:]
    joined = rows
    while joined % 2 == 0 and 2 * (rows // joined) * columns <= ROW:
        joined //= 2
    if joined == 1:
        norm(t.flatten(-2), dim=-1, out=out)
    else:
        norm(norm(t.reshape(*t.shape[:-2], joined, -1), dim=-1), dim=-1, out=out)


class _Queue:
    """Adjacent layers of one kind whose tensors have the same shapes, until there are ``most``: then ``write`` gets
    their rows of the ledger and their tensors, (k, G, ...) each. One call of torch for several layers takes hardly
    longer than for one, and threads that call it wait for each other."""

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._memory: dict[object, Tensor] = {}  # used again: taking new pages takes longer than copying into them
        self.open(1)

    def open(self, most: int) -> None:
        """Begin, with nothing waiting."""
        self._most = most
        self._layers: list[int] = []
        self._tensors: list[tuple[Tensor, ...]] = []
        self._kind: tuple[object, ...] = ()

    def put(self, layer: int, *tensors: Tensor, by: bool = False) -> None:
        """One more layer, each beside the one before; ``by`` belongs to its kind."""
        kind = (by, *(t.shape for t in tensors))
        if kind != self._kind:
            self.flush()
            self._kind = kind
        self._layers.append(layer)
        self._tensors.append(tensors)
        if len(self._layers) == self._most:
            self.flush()

    def flush(self) -> None:
        """Write down what waits."""
        if not self._layers:
            return
        layers, tensors = self._layers, self._tensors
        if layers[-1] < layers[0]:
            layers, tensors = layers[::-1], tensors[::-1]
        self._layers, self._tensors = [], []
        whole = [self._joined(place, parts) for place, parts in enumerate(zip(*tensors, strict=True))]
        self._write(slice(layers[0], layers[-1] + 1), *whole)

    def _joined(self, place: int, parts: tuple[Tensor, ...]) -> Tensor:
        """(k, G, ...), to be used before the next ones are joined."""
        if len(parts) == 1:
            return parts[0].unsqueeze(0)
        key = (place, len(parts), parts[0].shape)
        if key not in self._memory:
            self._memory[key] = parts[0].new_empty(len(parts), *parts[0].shape)
        return torch.stack(parts, out=self._memory[key])


class Ledger:
    """The numbers of one group of at most ``size`` networks at a time. Tensors handed in are (G, B, n)."""

    def __init__(self, spec: Spec, size: int, kind: torch.dtype, device: str) -> None:
        self._spec = spec
        half = torch.finfo(kind).bits < 32  # whose own range is too short to leave any cotangent as it is
        kind = torch.float32 if half else kind
        self._range = RANGES[kind]
        self.tame_delta = 0 if half else self._range.tame_delta  # binary orders within which cotangents are left alone
        batch = spec.batch_size
        few = batch * (spec.layer_widths.astype(float) + spec.fan_ins) < spec.layer_widths.astype(float) * spec.fan_ins
        self._few = few[:, None]  # where two Gram matrices are fewer numbers than the weight gradient
        self._by_grams: list[bool] = few.tolist()
        self._weights = spec.layer_widths.astype(float)[:, None] * spec.fan_ins.astype(float)[:, None]
        largest = np.maximum(batch * np.maximum(spec.layer_widths, spec.fan_ins), ~few * self._weights[:, 0])
        self._most = max(1, min(MOST_WAITING, int(WAITING // (size * largest.max()))))
        self._flags = torch.empty(0)
        self._signals, self._slopes = _Queue(self._write_signals), _Queue(self._write_slopes)
        self._sent = _Queue(self._write_gradients)
        names = ("z", "x", "delta", "flags", "sums", "alive", "dw", "db", "trace_x", "trace_d")
        self._all = {name: torch.zeros(spec.depth, size, dtype=kind, device=device) for name in names}

    def open(self, networks: int, careful: bool) -> None:
        """Begin a group."""
        depth = self._spec.depth
        self._count, self._careful = networks, careful
        self._now = {name: whole[:, :networks] for name, whole in self._all.items()}
        self._grams: list[Tensor | None] = [None] * depth
        self._x: list[Tensor | None] = [None] * depth
        self._scaled_x = np.zeros((depth, networks))  # exponents of two taken out of x
        self._fixed: dict[tuple[str, int, int], float] = {}
        self._scale = np.zeros((depth, networks))  # exponents of two taken out of the cotangents
        self._log_g = np.full((depth, networks), math.nan)
        self._factor = np.full(depth, math.nan)  # ln of the square of what else multiplies them at the weights
        self._ended = np.full(networks, -1)  # the layer at and below which nothing is a number
        for queue in (self._signals, self._slopes, self._sent):
            queue.open(1 if careful else self._most)

    # --- forwards ---------------------------------------------------------------------------------------------

    def forward(self, layer: int, x: Tensor, z: Tensor) -> None:
        """Layer ``layer`` has made z of x."""
        x = statistics.widened(x)
        if self._careful or not self._by_grams[layer]:
            self._x[layer] = x
        self._signals.put(layer, x, statistics.widened(z), by=self._by_grams[layer])

    def _write_signals(self, layers: slice, x: Tensor, z: Tensor) -> None:
        now, first = self._now, layers.start
        _norms(z, now["z"][layers])
        _norms(x, now["x"][layers])
        norm(z.sum(dim=2), dim=2, out=now["sums"][layers])
        if self._careful:
            for g, mean in enumerate(self._means("z", first, z[0])):
                if not self._range.low < mean < self._range.high:
                    self._fixed["log_q", first, g] = statistics.log_mean_square(z[0, g])
                    self._fixed["correlation", first, g] = statistics.correlation(z[0, g])
            self._x[first] = tamed = self._tamed(first, x[0])
            x = tamed.unsqueeze(0)
        if self._by_grams[first]:
            own = x.flatten(0, 1)
            gram = statistics.product(own, own.mT).unflatten(0, x.shape[:2])
            self._grams[layers] = gram.unbind()
            torch.sum(gram.diagonal(dim1=2, dim2=3), dim=2, out=now["trace_x"][layers])

    def _tamed(self, layer: int, x: Tensor) -> Tensor:
        logs = []
        for g, mean in enumerate(self._means("x", layer, x)):
            if self._range.low < mean < self._range.high:
                logs.append(math.log(mean))
            else:
                logs.append(statistics.log_mean_square(x[g]))
                self._fixed["log_p", layer, g] = logs[-1]
        powers = statistics.exponents(logs, self._range.tame_x)
        self._scaled_x[layer] = powers
        return statistics.divided(x, powers)

    def shares(self, layer: int, slope: Tensor, small: float) -> None:
        """The activation has slopes of these sizes; below ``small`` is saturated, 0 on the whole batch is dead."""
        self._small = small
        self._slopes.put(layer, statistics.widened(slope))

    def _write_slopes(self, layers: slice, slope: Tensor) -> None:
        norm(slope.sum(dim=2), 0, dim=2, out=self._now["alive"][layers])
        if self._flags.shape != slope.shape:
            self._flags = torch.empty_like(slope)
        torch.lt(slope, self._small, out=self._flags)  # quicker than as bool
        torch.sum(self._flags.flatten(2), dim=2, out=self._now["flags"][layers])

    # --- backwards --------------------------------------------------------------------------------------------

    def sizes(self, layer: int, delta: Tensor) -> list[float]:
        """ln of the mean square of each slice of the cotangent ``delta``, by which it may be divided."""
        wide = statistics.widened(delta)
        _norms(wide, self._now["delta"][layer])
        low, high, count = self._range.low, self._range.high, delta.shape[1] * delta.shape[2]
        means = [value * value / count for value in self._now["delta"][layer].tolist()]
        return [math.log(m) if low < m < high else statistics.log_mean_square(delta[g]) for g, m in enumerate(means)]

    def cotangent(self, layer: int, log_g: list[float], powers: list[int]) -> None:
        """Its ln mean squares, and the exponents of two that have been taken out of it."""
        self._scale[layer], self._log_g[layer] = powers, log_g

    def end(self, layer: int, networks: Array) -> None:
        """The backward pass of these networks has broken at ``layer``."""
        self._ended[networks & (self._ended < 0)] = layer

    @property
    def ended(self) -> bool:
        """Whether the backward pass of every network has broken."""
        return bool((self._ended >= 0).all())

    def parameters(self, layer: int, sent: Tensor, factor: float) -> None:
        """The cotangent of W x + b is ``factor`` times ``sent``."""
        self._signals.flush()
        self._factor[layer] = 2.0 * math.log(abs(factor)) if factor else -math.inf
        kept = [t for t in (self._x[layer], self._grams[layer]) if t is not None]
        self._x[layer] = self._grams[layer] = None
        self._sent.put(layer, statistics.widened(sent), *kept, by=self._by_grams[layer])

    def _write_gradients(self, layers: slice, sent: Tensor, *rest: Tensor) -> None:
        now, first = self._now, layers.start
        sums = sent.sum(dim=2)
        norm(sums, dim=2, out=now["db"][layers])
        flat = sent.flatten(0, 1)
        if self._by_grams[first]:
            own = statistics.product(flat, flat.mT).unflatten(0, sent.shape[:2])
            torch.sum(own.diagonal(dim1=2, dim2=3), dim=2, out=now["trace_d"][layers])
            torch.sum(own.mul_(rest[-1]).flatten(2), dim=2, out=now["dw"][layers])
        else:
            gradient = statistics.product(flat.mT, rest[0].flatten(0, 1))
            _norms(gradient.unflatten(0, sent.shape[:2]), now["dw"][layers])
        if self._careful:
            self._repair(layers, sent[0], rest[0][0], sums[0])

    def _repair(self, here: slice, sent: Tensor, x: Tensor, sums: Tensor) -> None:
        layer = here.start
        for g, (whole, mean) in enumerate(zip(self._whole_dw(here)[0], self._mean_db(here)[0], strict=True)):
            if not whole:
                self._fixed["log_dw", layer, g] = statistics.log_product(sent[g], x[g])
            if not self._range.low < mean < self._range.high:
                self._fixed["log_db", layer, g] = statistics.log_mean_square(sums[g])

    # --- the numbers ------------------------------------------------------------------------------------------

    def _means(self, name: str, layer: int, t: Tensor) -> list[float]:
        return (self._squares(name, slice(layer, layer + 1))[0] / (t.shape[1] * t.shape[2])).tolist()

    def _read(self, name: str, layers: slice = ALL) -> Array:
        """What was written down, in float64."""
        return self._now[name][layers].cpu().numpy().astype(np.float64)

    def _squares(self, name: str, layers: slice = ALL) -> Array:
        return self._read(name, layers) ** 2

    def _mean_db(self, layers: slice = ALL) -> Array:
        return self._read("db", layers) ** 2 / self._spec.layer_widths[layers].astype(float)[:, None]

    def _whole_dw(self, layers: slice = ALL) -> Array:
        """(L, G) whether the quick sum of the weight gradient holds."""
        limits, raw = self._range, self._read("dw", layers)
        d, y = self._read("trace_d", layers), self._read("trace_x", layers)
        with np.errstate(all="ignore"):
            mean = raw * raw / self._weights[layers]
            direct = (limits.low < mean) & (mean < limits.high)
            enough = raw > limits.cancelled * d * y / self._spec.batch_size
            whole = enough & (np.minimum(d, y) > limits.low) & (np.maximum(d, y) < limits.high) & np.isfinite(raw)
        return np.where(self._few[layers], whole, direct)

    def rows(self) -> dict[str, Array] | None:
        """Every statistic, (G, L) each, or None where a quick sum did not hold and the ledger was not careful."""
        for queue in (self._signals, self._slopes, self._sent):
            queue.flush()
        if not self._careful and (self._ended >= 0).any():
            return None
        widths, b = self._spec.layer_widths.astype(float)[:, None], float(self._spec.batch_size)
        fans = self._spec.fan_ins.astype(float)[:, None]
        with np.errstate(all="ignore"):
            q = self._squares("z") / (b * widths)
            p = self._squares("x") / (b * fans)
            own = q * widths
            pairs = (self._squares("sums") - b * own) / (b * (b - 1.0)) / own if b > 1.0 else own * math.nan
            rows = {
                "log_q": self._logs("log_q", q),
                "log_p": self._logs("log_p", p),
                "log_g": self._log_g,
                "log_dw": self._log_dw(),
                "log_db": self._logs("log_db", self._mean_db()),
            }
            tame = 2.0 * LN2 * (self._range.tame_x + 0.5)
            unsafe = any(np.isnan(v).any() for v in rows.values()) or bool((abs(rows["log_p"]) >= tame).any())
            if unsafe and not self._careful:
                return None
            rows["correlation"] = self._filled("correlation", pairs)
            rows["saturated"] = self._read("flags") / (b * widths)
            rows["dead"] = 1.0 - self._read("alive") / widths
            self._scale_gradients(rows)
        return {name: np.ascontiguousarray(values.T) for name, values in rows.items()}

    def _logs(self, name: str, means: Array, low: float | None = None, high: float | None = None) -> Array:
        low, high = self._range.low if low is None else low, self._range.high if high is None else high
        out = [math.log(m) if low < m < high else math.nan for m in means.ravel().tolist()]
        return self._filled(name, np.array(out).reshape(means.shape))

    def _filled(self, name: str, values: Array) -> Array:
        """The values, those computed with care put in."""
        for (which, layer, g), value in self._fixed.items():
            if which == name:
                values[layer, g] = value
        return values

    def _log_dw(self) -> Array:
        raw = self._read("dw")
        with np.errstate(all="ignore"):
            squares = np.where(self._whole_dw(), np.where(self._few, raw, raw * raw), math.nan)
        return self._logs("log_dw", squares, 0.0, math.inf) + 2.0 * LN2 * self._scaled_x

    def _scale_gradients(self, rows: dict[str, Array]) -> None:
        spec = self._spec
        common = 2.0 * LN2 * self._scale + (self._factor - 2.0 * math.log(spec.batch_size))[:, None]
        rows["log_dw"] = rows["log_dw"] + common - np.log(self._weights)
        rows["log_db"] = rows["log_db"] + common
        for g, layer in enumerate(self._ended.tolist()):
            for name in ("log_g", "log_dw", "log_db"):
                rows[name][: layer + 1, g] = math.nan
