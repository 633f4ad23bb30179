"""What a measurement or a training step costs: its memory, and its time by a model that what was run calibrates."""

from __future__ import annotations

import math
import statistics
import threading
from collections import deque
from collections.abc import Callable

import numpy as np
import streamlit as st

from gradcore.spec import Spec

MAX_BYTES = 2e9  # of one network in float64: its weights, and the signals kept for the backward pass

# Seconds on one core of a small machine, from timings of networks of 3 to 500 layers with 32 to 2048 units.
LAYER, NORM = 5e-4, 1e-4  # per layer, whatever its width; more with a norm
ENTRY = 2.8e-8  # per unit and sample of a layer
WEIGHT, PRODUCT = 2e-9, 1.2e-10  # per weight; per weight and sample
DOUBLE, SINGLE = 1.8e-8, 2e-9  # per weight drawn from a normal law, in float64 and in float32
UNIFORM = 5e-9
ORTHOGONAL, ORTHOGONAL_CUBE = 3.6e-8, 9e-11  # per weight; per weight and unit of the shorter side
COLUMN, SPARSE = 1e-5, 1.4e-8  # sparse matrices: per column; per weight


def _weights(spec: Spec) -> float:
    return float((spec.layer_widths.astype(float) * spec.fan_ins).sum())


def _redraws(spec: Spec) -> float:
    """How often torch draws a truncated normal matrix until no entry lies beyond its cuts at -2 and 2."""
    gain = 0.0 if isinstance(spec.gain, str) else spec.gain
    outside = math.erfc(math.sqrt(2.0) / gain) if gain > 0.0 else 0.0
    return 1.0 + math.log(_weights(spec) / spec.depth) / -math.log(outside) if 0.0 < outside < 1.0 else 1.0


def _factorizing(spec: Spec) -> float:
    shorter = np.minimum(spec.fan_ins, spec.layer_widths)
    cubes = float((spec.fan_ins.astype(float) * spec.layer_widths * shorter).sum())
    return ORTHOGONAL * _weights(spec) + ORTHOGONAL_CUBE * cubes


# By the kind of the weight law: seconds to draw all weights, where one normal draw of them takes ``normal``.
DRAWING: dict[str, Callable[[Spec, float], float]] = {
    "gaussian": lambda spec, normal: normal,
    "uniform": lambda spec, normal: UNIFORM * _weights(spec),
    "truncated": lambda spec, normal: normal * _redraws(spec),
    "orthogonal": lambda spec, normal: normal + _factorizing(spec),
    "sparse": lambda spec, normal: normal + COLUMN * float(spec.fan_ins.sum()) + SPARSE * _weights(spec),
    "constant": lambda spec, normal: 0.0,
    "eye": lambda spec, normal: 0.0,
}


# Without matrices: per layer; per unit and sample, and how many samples double that.
FREE_LAYER, FREE_DOUBLE, FREE_SINGLE, FREE_SAMPLES = 4e-4, 1e-7, 4.5e-8, 400.0


def matrix_free(spec: Spec, dtype: str) -> bool:
    """Whether networks of this Spec can be measured without their matrices, in the same law."""
    gaussian = spec.init_entry.kind == "gaussian" and dtype in ("float64", "float32")
    return gaussian and spec.batch_size <= int(spec.fan_ins.min())


def _matrix_free_seconds(spec: Spec, dtype: str) -> float:
    entry = FREE_SINGLE if dtype == "float32" else FREE_DOUBLE
    entries = float(spec.batch_size) * float(spec.layer_widths.sum())
    return FREE_LAYER * spec.depth + entry * entries * (1.0 + spec.batch_size / FREE_SAMPLES)


def modelled_seconds(spec: Spec, dtype: str, sampler: str = "dense") -> float:
    """Seconds per network by the model alone, the same on every machine and at every load."""
    if sampler == "exact":
        return _matrix_free_seconds(spec, dtype)
    weights, entries = _weights(spec), float(spec.batch_size) * float(spec.layer_widths.sum())
    layers = spec.depth * (LAYER + (NORM if spec.norm != "none" else 0.0))
    products = weights * (WEIGHT + PRODUCT * spec.batch_size) * (0.5 if dtype == "float32" else 1.0)
    normal = weights * (DOUBLE if dtype == "float64" else SINGLE)
    return layers + ENTRY * entries + products + DRAWING[spec.init_entry.kind](spec, normal)


class Calibration:
    """How much slower than the model this machine has been of late: the median over the last networks measured."""

    def __init__(self) -> None:
        self._lock, self._ratios = threading.Lock(), deque(maxlen=15)

    def learn(self, observed: float, modelled: float) -> None:
        """Take in the time of one network."""
        with self._lock:
            self._ratios.append(observed / modelled)

    @property
    def scale(self) -> float:
        """Observed over modelled seconds; 1 where nothing was measured yet."""
        with self._lock:
            return statistics.median(self._ratios) if self._ratios else 1.0


@st.cache_resource(show_spinner=False)
def calibration() -> Calibration:
    """The one of this process."""
    return Calibration()


def seconds(spec: Spec, networks: int, dtype: str = "float64", sampler: str = "dense") -> float:
    """About how long these networks will take here."""
    return networks * modelled_seconds(spec, dtype, sampler) * calibration().scale


def network_bytes(spec: Spec, sampler: str = "dense") -> float:
    """About the memory of one network in float64."""
    widths, within = spec.layer_widths.astype(float), 6.0
    weights = _weights(spec)
    if sampler == "exact":  # three tensors a layer and the work of one, but no weights
        weights, within = 0.0, 48.0 - 2.0
    per_sample = (3.0 if sampler == "exact" else 2.0) * widths.sum() + within * widths.max()
    return 8.0 * (weights + float(spec.batch_size) * per_sample)


def too_large(spec: Spec, sampler: str = "dense") -> bool:
    """Whether one network would need more than MAX_BYTES of memory; predictions only need the numbers."""
    return network_bytes(spec, sampler) > MAX_BYTES


# --- training -------------------------------------------------------------------------------------------------

# Of one step in float64, from timings of 5 to 200 layers of 16 to 1024 units on 10 to 1000 items.
STEP_LAYER, STEP_ENTRY = 4e-4, 2e-8  # seconds per layer; per unit and item
STEP_PRODUCT, STEP_WEIGHT = 2.2e-10, 3e-8  # per weight and item; per weight
BEARABLE = 6.0  # seconds of one step
MAX_RECORD = 2.5e8  # bytes of a run's record
NUMBER, NUMBERS = 32.0, 9  # bytes of a number in a record, and how many a layer has in every step
COPIES = 7  # of the weights: themselves, gradient, start, before the update, the optimizer's


def modelled_step(sized: Spec, items: int) -> float:
    """Seconds of one training step on so many items by the model alone; ``sized``: the network on its data."""
    weights, entries = _weights(sized), items * float(sized.layer_widths.sum())
    products = weights * (STEP_WEIGHT + STEP_PRODUCT * items)
    return STEP_LAYER * sized.depth + STEP_ENTRY * entries + products


@st.cache_resource(show_spinner=False)
def training_calibration() -> Calibration:
    """How much slower than the model training steps have been of late in this process."""
    return Calibration()


def step_seconds(sized: Spec, items: int) -> float:
    """About how long one training step will take here."""
    return modelled_step(sized, items) * training_calibration().scale


def step_bytes(sized: Spec, items: int) -> float:
    """About the memory that training needs: weights in all their copies, signals and their gradients."""
    return 8.0 * (COPIES * _weights(sized) + 4.0 * items * float(sized.layer_widths.sum()))


def record_bytes(sized: Spec, steps: int) -> float:
    """About the memory of the record of so many steps."""
    return NUMBER * NUMBERS * sized.depth * float(steps)
