"""The table of presets: named questions, each with one plain sentence on its point.

The three states of a deep ReLU net, the experiments of the classic PyTorch exercise (100 layers of 400 units, batch
16, N(0, 1) inputs, no bias), and further troubles worth knowing by sight. Adding a preset is one more ``_add``; the
CLI, the app and the tests read the table.

"per layer in RMS (... in mean square)" in a sentence is the predicted factor deep in the net, towards the output for
the signal and towards the input for the gradient; tests/test_presets.py checks each one, and every other figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradcore.errors import SpecError
from gradcore.spec import Spec


@dataclass(frozen=True)
class Preset:
    """One preset: ``code`` its name, ``spec`` the question, ``title`` a short label, ``sentence`` its point in plain
    words, ``experiment`` the number of the experiment it shows ("3.5"; empty where it belongs to none)."""

    code: str
    title: str
    spec: Spec
    sentence: str
    experiment: str = ""


PRESETS: dict[str, Preset] = {}

_LAYERS, _UNITS = 100, 400


def _add(code: str, title: str, experiment: str, sentence: str, **fields: object) -> None:
    PRESETS[code] = Preset(code, title, Spec(**fields), sentence, experiment)  # type: ignore[arg-type]


def _course(code: str, title: str, experiment: str, sentence: str, **fields: object) -> None:
    """A preset on the course's net: 100 layers of 400 units, unless said otherwise."""
    _add(code, title, experiment, sentence, **{"depth": _LAYERS, "width": _UNITS, **fields})


def find_preset(code: str) -> Preset:
    """The preset of this name. Raises SpecError, with the nearest name as a hint, where there is none."""
    if code not in PRESETS:
        from difflib import get_close_matches

        near = get_close_matches(code, list(PRESETS), n=1)
        raise SpecError("preset", code, "one of " + ", ".join(PRESETS), f"Did you mean {near[0]}?" if near else "")
    return PRESETS[code]


# --- the three states of a deep ReLU net -------------------------------------------------------------------

_add(
    "vanishing",
    "Vanishing gradients",
    "",
    "Xavier's gain 1 is too small for ReLU: signal ×0.71 per layer in RMS (×0.50 in mean square), "
    "gradient ×0.71 per layer in RMS (×0.50 in mean square).",
)
_add(
    "critical",
    "Critical initialization",
    "",
    "Kaiming's law fits ReLU: signal ×1.00 per layer in RMS (×1.00 in mean square), "
    "gradient ×1.00 per layer in RMS (×1.00 in mean square).",
    init="kaiming_normal",
)
_add(
    "exploding",
    "Exploding gradients",
    "",
    "A gain of 2 is too large for ReLU: signal ×1.41 per layer in RMS (×2.00 in mean square), "
    "gradient ×1.41 per layer in RMS (×2.00 in mean square).",
    gain=2.0,
)

# --- 3.1 to 3.9: variance through 100 layers ---------------------------------------------------------------

_course(
    "overflow",
    "Weights N(0, 1), no activation",
    "3.1",
    "Each layer multiplies by √400, signal ×20.00 per layer in RMS (×400.00 in mean square): "
    "float16 overflows at layer 4, float32 at layer 30.",
    activation="linear",
    init="normal",
    gain=1.0,
)
_course(
    "overflow_float64",
    "The same until float64 overflows",
    "3.1",
    "Even float64 holds out for 236 layers only at signal ×20.00 per layer in RMS (×400.00 in mean square).",
    activation="linear",
    init="normal",
    gain=1.0,
    depth=260,
)
_course(
    "sqrt_width",
    "A layer multiplies by √n",
    "3.2",
    "Var(XY) = Var X Var Y summed over n inputs: with n = 100 units signal ×10.00 per layer in RMS "
    "(×100.00 in mean square); change the width and the factor stays √width.",
    activation="linear",
    init="normal",
    gain=1.0,
    width=100,
)
_course(
    "scaled_linear",
    "Weights of std √(1/n), no activation",
    "3.3",
    "Weights of std √(1/n) undo the sum over n inputs: signal ×1.00 per layer in RMS (×1.00 in mean square).",
    activation="linear",
    init="normal",
    gain=math.sqrt(1 / _UNITS),
)
_course(
    "scaled_tanh",
    "Weights of std √(1/n) with tanh",
    "3.4",
    "Tanh shrinks what weights of std √(1/n) keep, so the signal falls, ever more slowly: "
    "its RMS is about 0.07 at layer 100 and goes on towards zero.",
    activation="tanh",
    init="normal",
    gain=math.sqrt(1 / _UNITS),
)
_course(
    "tanh_xavier",
    "Tanh with Xavier and gain 5/3",
    "3.5",
    "Gain 5/3 holds the tanh signal at a mean square of 1.178 (RMS 1.086), yet it is no critical gain: "
    "gradient ×1.10 per layer in RMS (×1.21 in mean square).",
    activation="tanh",
    init="xavier_uniform",
    gain=5 / 3,
)
_course(
    "relu_tanh_gain",
    "ReLU with tanh's gain",
    "3.6",
    "Tanh's gain 5/3 is too large for ReLU and everything explodes: signal ×1.18 per layer in RMS "
    "(×1.39 in mean square), gradient ×1.18 per layer in RMS (×1.39 in mean square).",
    activation="relu",
    init="xavier_uniform",
    gain=5 / 3,
)
_course(
    "relu_kaiming",
    "ReLU with Kaiming",
    "3.7",
    "ReLU halves the mean square and weights of std √(2/n) double it: signal ×1.00 per layer in RMS "
    "(×1.00 in mean square) on average, though single networks of this depth scatter widely.",
    activation="relu",
    init="kaiming_normal",
)
_course(
    "leaky_kaiming",
    "Leaky ReLU with Kaiming",
    "3.8",
    "A slope a = 0.2 below zero keeps (1 + a²)/2 of the mean square and Var W = 2/((1 + a²) n) restores it: "
    "signal ×1.00 per layer in RMS (×1.00 in mean square).",
    activation="leaky_relu",
    negative_slope=0.2,
    init="kaiming_normal",
)
_course(
    "sigmoid_xavier",
    "Sigmoid with Xavier",
    "3.9",
    "Sigmoid's derivative is at most 1/4, so it shrinks the gradient ×0.24 per layer in RMS "
    "(×0.056 in mean square), a loss of 4.2 in norm and 18 in mean square.",
    activation="sigmoid",
    init="xavier_normal",
)

# --- 3.10: the initialization methods, each on ReLU --------------------------------------------------------

_STEADY = "signal ×1.00 per layer in RMS (×1.00 in mean square)"
_course(
    "init_xavier_uniform",
    "Xavier uniform",
    "3.10",
    f"Var W = 2 g²/(fan_in + fan_out) with ReLU's gain √2: {_STEADY}.",
    init="xavier_uniform",
    gain=math.sqrt(2),
)
_course(
    "init_xavier_normal",
    "Xavier normal",
    "3.10",
    f"The same variance as Xavier uniform from a normal law, gain √2: {_STEADY}.",
    init="xavier_normal",
    gain=math.sqrt(2),
)
_course(
    "init_kaiming_uniform",
    "Kaiming uniform",
    "3.10",
    f"Var W = 2/fan_in, made for ReLU: {_STEADY}.",
    init="kaiming_uniform",
)
_course(
    "init_kaiming_normal",
    "Kaiming normal",
    "3.10",
    f"Var W = 2/fan_in from a normal law: {_STEADY}.",
    init="kaiming_normal",
)
_course(
    "init_uniform",
    "Plain uniform",
    "3.10",
    f"U(-a, a) has variance a²/3, so a = √(6/n) keeps ReLU's size: {_STEADY}.",
    init="uniform",
    gain=math.sqrt(6 / _UNITS),
)
_course(
    "init_normal",
    "Plain normal",
    "3.10",
    f"N(0, s²) with s = √(2/n) is Kaiming normal written by hand: {_STEADY}.",
    init="normal",
    gain=math.sqrt(2 / _UNITS),
)
_course(
    "init_constant",
    "Constant",
    "3.10",
    "Every weight 1/n makes all units of a layer equal: only the input's mean, 0.05 in RMS, gets through "
    "layer 1, and every unit of a layer learns the same thing.",
    init="constant",
    gain=1 / _UNITS,
)
_course(
    "init_orthogonal",
    "Orthogonal",
    "3.10",
    f"An orthogonal matrix keeps every length, √2 makes up for ReLU, and networks scatter less: {_STEADY}.",
    init="orthogonal",
    gain=math.sqrt(2),
)
_course(
    "init_eye",
    "Identity",
    "3.10",
    "The identity matrix hands every unit on untouched: after the first ReLU nothing changes any more, "
    "and layers do not mix their units.",
    init="eye",
)
_course(
    "init_sparse",
    "Sparse",
    "3.10",
    f"80% of the weights are zero, so the rest need std √(10/n) for ReLU: {_STEADY}.",
    init="sparse",
    sparsity=0.8,
    gain=math.sqrt(10 / _UNITS),
)
_course(
    "init_trunc_normal",
    "Truncated normal",
    "3.10",
    f"torch cuts at -2 and 2, 28 standard deviations away at std √(2/n), so nothing is cut: {_STEADY}.",
    init="trunc_normal",
    gain=math.sqrt(2 / _UNITS),
)
_course(
    "init_linear_default",
    "What nn.Linear does by default",
    "3.10",
    "Var W = 1/(3 n) is six times too small for ReLU: gradient ×0.41 per layer in RMS "
    "(×0.17 in mean square), while small default biases keep the signal from reaching zero.",
    init="linear_default",
    bias_std="default",
)

# --- 3.12, 3.13: products and unequal widths ---------------------------------------------------------------

_course(
    "product_tanh",
    "The weight gradient is a product (tanh)",
    "3.12",
    "dC/dW is the gradient times the layer's input: tanh at gain 5/3 pins the input, and still the "
    "gradient ×1.10 per layer in RMS (×1.21 in mean square) reaches every weight.",
    activation="tanh",
    init="xavier_normal",
    gain=5 / 3,
)
_course(
    "product_batch_norm",
    "The weight gradient is a product (batch norm)",
    "3.12",
    "Batch norm pins the signal exactly but not the product: gradient ×1.26 per layer in RMS "
    "(×1.59 in mean square) at a batch of 16.",
    activation="relu",
    init="kaiming_normal",
    norm="batch",
)
_UNEQUAL = {"depth": 4, "input_width": 300, "width": (100, 500, 200, 400)}
_add(
    "unequal_fan_in",
    "Unequal widths, fan_in",
    "3.13",
    "Scaling by fan_in keeps the signal's mean square at 2 on widths 300-100-500-200-400; "
    "the gradient's follows the widths instead.",
    init="kaiming_normal",
    **_UNEQUAL,
)
_add(
    "unequal_fan_out",
    "Unequal widths, fan_out",
    "3.13",
    "Scaling by fan_out keeps the gradient's mean square at 1 on widths 300-100-500-200-400; "
    "the signal's follows the widths instead.",
    init="kaiming_normal_fan_out",
    **_UNEQUAL,
)
_add(
    "unequal_xavier",
    "Unequal widths, Xavier",
    "3.13",
    "Xavier's mean of fan_in and fan_out is a compromise: on widths 300-100-500-200-400 neither the signal "
    "nor the gradient keeps its size.",
    init="xavier_normal",
    gain=math.sqrt(2),
    **_UNEQUAL,
)

# --- further troubles -------------------------------------------------------------------------------------

_add(
    "batch_norm_small_batch",
    "Batch norm, batch of 8",
    "4.3",
    "Batch norm pins the signal and, the more so the smaller the batch, makes the gradient explode: at a batch of 8 "
    "gradient ×1.34 per layer in RMS (×1.79 in mean square).",
    init="kaiming_normal",
    norm="batch",
    batch_size=8,
)
_add(
    "dead_relu",
    "Dead ReLU",
    "",
    "A layer norm whose shift has drifted to −4 switches nearly every ReLU off: 99.95% of layer 1's units are zero "
    "for the whole batch, the signal is exactly zero from layer 4 on, and no gradient passes below layer 50.",
    init="kaiming_normal",
    norm="layer",
    norm_beta=-4.0,
)
