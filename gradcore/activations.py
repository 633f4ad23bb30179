"""The table of activations: one entry carries theory (NumPy) and torch side by side.

Adding an activation is one call of :func:`_add` here; the command line, the app's options, the contract
tests and the docs table follow from the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
SQRT2 = math.sqrt(2.0)
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
INF = math.inf


@dataclass(frozen=True)
class Activation:
    """One activation: the NumPy function and derivative, the torch operation, and what is known of it.

    ``value(h, a)`` and ``derivative(h, a)`` are elementwise; ``a`` is the negative slope (ignored by most).
    ``tails(a)`` are the slopes at -inf and +inf, ``limits`` the values there where the slope is 0.
    ``flat`` lists the intervals on which the derivative is exactly 0; ``kinks`` the points where it jumps.
    ``closed(q)`` gives (E phi, E phi^2, E phi'^2) of phi(sqrt(q) Z) where a closed form is exact and well
    conditioned for every q > 0; other activations use the quadrature of ``theory.gaussian``.
    """

    code: str
    value: Callable[[Array, float], Array]
    derivative: Callable[[Array, float], Array]
    torch_module: Callable[[Any, float], Any]
    torch_code: str
    latex: str
    source: str
    note: str
    kinks: tuple[float, ...] = ()
    flat: tuple[tuple[float, float], ...] = ()
    tails: Callable[[float], tuple[float, float]] = lambda a: (0.0, 1.0)
    limits: tuple[float, float] = (0.0, 0.0)
    odd: bool = False
    homogeneous: bool = False
    oscillates: bool = False
    default_slope: float | None = None
    torch_gain: Callable[[float], float] | None = None
    closed: Callable[[Array], tuple[Array, Array, Array]] | None = None

    @property
    def is_linear(self) -> bool:
        """True for the identity: theory that holds for linear nets alone applies."""
        return self.code == "linear"


ACTIVATIONS: dict[str, Activation] = {}


def _add(code: str, **entry: Any) -> None:
    ACTIVATIONS[code] = Activation(code=code, **entry)


def negative_slope_of(code: str, negative_slope: float | None) -> float:
    """The slope in force: the given one, else torch's default for the activation (0 where it has none)."""
    if negative_slope is not None:
        return float(negative_slope)
    return ACTIVATIONS[code].default_slope or 0.0


# --- NumPy sides -------------------------------------------------------------------------------------------


def _special(name: str) -> Callable[..., Array]:
    from scipy import special

    return getattr(special, name)


def _leaky(h: Array, a: float) -> Array:
    return np.where(h > 0, h, a * h)


def _leaky_slope(h: Array, a: float) -> Array:
    return np.where(h > 0, 1.0, a)


def _elu(h: Array, a: float) -> Array:
    return np.where(h > 0, h, np.expm1(np.minimum(h, 0.0)))


def _elu_slope(h: Array, a: float) -> Array:
    return np.where(h > 0, 1.0, np.exp(np.minimum(h, 0.0)))


def _selu(h: Array, a: float) -> Array:
    return SELU_SCALE * np.where(h > 0, h, SELU_ALPHA * np.expm1(np.minimum(h, 0.0)))


def _selu_slope(h: Array, a: float) -> Array:
    return SELU_SCALE * np.where(h > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(h, 0.0)))


def _normal_pdf(h: Array) -> Array:
    return np.exp(-0.5 * h * h) / math.sqrt(2.0 * math.pi)


def _gelu(h: Array, a: float) -> Array:
    return h * _special("ndtr")(h)


def _gelu_slope(h: Array, a: float) -> Array:
    return _special("ndtr")(h) + h * _normal_pdf(h)


_GELU_C = math.sqrt(2.0 / math.pi)


def _gelu_tanh_gate(h: Array) -> Array:
    """(1 + tanh(u)) / 2 with u the cubic of the tanh approximation, as a logistic of 2u."""
    return _special("expit")(2.0 * _GELU_C * (h + 0.044715 * h * h * h))


def _gelu_tanh(h: Array, a: float) -> Array:
    return h * _gelu_tanh_gate(h)


def _gelu_tanh_slope(h: Array, a: float) -> Array:
    gate = _gelu_tanh_gate(h)
    return gate + h * 2.0 * gate * _gelu_tanh_gate(-h) * _GELU_C * (1.0 + 3 * 0.044715 * h * h)


def _sigmoid(h: Array, a: float) -> Array:
    return _special("expit")(h)


def _sigmoid_slope(h: Array, a: float) -> Array:
    expit = _special("expit")
    return expit(h) * expit(-h)


def _silu(h: Array, a: float) -> Array:
    return h * _special("expit")(h)


def _silu_slope(h: Array, a: float) -> Array:
    expit = _special("expit")
    return expit(h) * (1.0 + h * expit(-h))


def _softplus(h: Array, a: float) -> Array:
    return np.logaddexp(0.0, h)


def _mish(h: Array, a: float) -> Array:
    return h * np.tanh(np.logaddexp(0.0, h))


def _mish_slope(h: Array, a: float) -> Array:
    t = np.logaddexp(0.0, h)
    return np.tanh(t) + h * _special("expit")(h) * _tanh_slope(t, a)


def _tanh(h: Array, a: float) -> Array:
    return np.tanh(h)


def _tanh_slope(h: Array, a: float) -> Array:
    s = np.exp(-2.0 * np.abs(h))
    return 4.0 * s / (1.0 + s) ** 2


def _softsign(h: Array, a: float) -> Array:
    return h / (1.0 + np.abs(h))


def _between(low: float, high: float, inside: float) -> Callable[[Array, float], Array]:
    return lambda h, a: np.where((h > low) & (h < high), inside, 0.0)


def _hardswish(h: Array, a: float) -> Array:
    return h * np.clip(h + 3.0, 0.0, 6.0) / 6.0


def _hardswish_slope(h: Array, a: float) -> Array:
    return np.where(h <= -3.0, 0.0, np.where(h >= 3.0, 1.0, h / 3.0 + 0.5))


# --- closed forms (docs/theory.md, "Closed forms") -----------------------------------------------------------


def _erf_moments(q: Array) -> tuple[Array, Array, Array]:
    return 0.0 * q, 2 / math.pi * np.arctan(2 * q / np.sqrt(1 + 4 * q)), 4 / math.pi / np.sqrt(1 + 4 * q)


def _sin_moments(q: Array) -> tuple[Array, Array, Array]:
    return 0.0 * q, -np.expm1(-2 * q) / 2, (1 + np.exp(-2 * q)) / 2


def _gelu_moments(q: Array) -> tuple[Array, Array, Array]:
    """Stein's lemma on phi = h Phi(h); each term is non-negative, so nothing cancels."""
    angle = np.arctan(q / np.sqrt(1 + 2 * q)) / (2 * math.pi)  # asin(q/(1+q)), well conditioned
    ratio = q / (math.pi * (1 + q) * np.sqrt(1 + 2 * q))
    mean = q / np.sqrt(2 * math.pi * (1 + q))
    second = q * (0.25 + angle + ratio)
    slope = 0.25 + angle + ratio + q / (2 * math.pi * (1 + 2 * q) ** 1.5)
    return mean, second, slope


# --- torch sides -------------------------------------------------------------------------------------------


def _elementwise(torch: Any, operation: str) -> Any:
    class Elementwise(torch.nn.Module):
        """A torch function that has no module of its own."""

        def forward(self, x: Any) -> Any:
            return getattr(torch, operation)(x)

        def extra_repr(self) -> str:
            return operation

    return Elementwise()


# --- the table ---------------------------------------------------------------------------------------------

_add(
    "linear",
    value=lambda h, a: h * 1.0,
    derivative=lambda h, a: np.ones_like(h),
    torch_module=lambda torch, a: torch.nn.Identity(),
    torch_code="nn.Identity()",
    latex=r"h",
    source="Saxe et al. 2014",
    note="no activation: products of random matrices",
    tails=lambda a: (1.0, 1.0),
    odd=True,
    homogeneous=True,
    torch_gain=lambda a: 1.0,
)
_add(
    "relu",
    value=lambda h, a: np.maximum(h, 0.0),
    derivative=lambda h, a: np.where(h > 0, 1.0, 0.0),
    torch_module=lambda torch, a: torch.nn.ReLU(),
    torch_code="nn.ReLU()",
    latex=r"\max(h, 0)",
    source="Nair & Hinton 2010; He et al. 2015",
    note="preserves both variances at sigma_w^2 = 2",
    kinks=(0.0,),
    flat=((-INF, 0.0),),
    homogeneous=True,
    torch_gain=lambda a: SQRT2,
)
_add(
    "leaky_relu",
    value=_leaky,
    derivative=_leaky_slope,
    torch_module=lambda torch, a: torch.nn.LeakyReLU(a),
    torch_code="nn.LeakyReLU({slope})",
    latex=r"\max(h, 0) + a \min(h, 0)",
    source="Maas et al. 2013",
    note="critical at sigma_w^2 = 2/(1+a^2)",
    kinks=(0.0,),
    tails=lambda a: (a, 1.0),
    homogeneous=True,
    default_slope=0.01,
    torch_gain=lambda a: math.sqrt(2.0 / (1.0 + a * a)),
)
_add(
    "prelu",
    value=_leaky,
    derivative=_leaky_slope,
    torch_module=lambda torch, a: torch.nn.PReLU(init=a),
    torch_code="nn.PReLU(init={slope})",
    latex=r"\max(h, 0) + a \min(h, 0)",
    source="He et al. 2015",
    note="leaky ReLU with a learned slope; at initialization the same function",
    kinks=(0.0,),
    tails=lambda a: (a, 1.0),
    homogeneous=True,
    default_slope=0.25,
)
_add(
    "relu6",
    value=lambda h, a: np.clip(h, 0.0, 6.0),
    derivative=_between(0.0, 6.0, 1.0),
    torch_module=lambda torch, a: torch.nn.ReLU6(),
    torch_code="nn.ReLU6()",
    latex=r"\min(\max(h, 0), 6)",
    source="Krizhevsky 2010",
    note="ReLU that saturates at 6",
    kinks=(0.0, 6.0),
    flat=((-INF, 0.0), (6.0, INF)),
    tails=lambda a: (0.0, 0.0),
    limits=(0.0, 6.0),
)
_add(
    "elu",
    value=_elu,
    derivative=_elu_slope,
    torch_module=lambda torch, a: torch.nn.ELU(),
    torch_code="nn.ELU()",
    latex=r"h\ (h>0),\ e^h - 1\ (h \le 0)",
    source="Clevert et al. 2016",
    note="critical from sigma_w = 1 on",
    kinks=(0.0,),
    limits=(-1.0, 0.0),
)
_add(
    "selu",
    value=_selu,
    derivative=_selu_slope,
    torch_module=lambda torch, a: torch.nn.SELU(),
    torch_code="nn.SELU()",
    latex=r"\lambda h\ (h>0),\ \lambda\alpha(e^h - 1)\ (h \le 0)",
    source="Klambauer et al. 2017",
    note="q* = 1 at sigma_w = 1, but the gradient grows 1.0716x a layer there",
    kinks=(0.0,),
    tails=lambda a: (0.0, SELU_SCALE),
    limits=(-SELU_SCALE * SELU_ALPHA, 0.0),
    torch_gain=lambda a: 0.75,
)
_add(
    "celu",
    value=_elu,
    derivative=_elu_slope,
    torch_module=lambda torch, a: torch.nn.CELU(),
    torch_code="nn.CELU()",
    latex=r"\max(h, 0) + \min(e^{h} - 1, 0)",
    source="Barron 2017",
    note="equal to ELU at alpha = 1",
    kinks=(0.0,),
    limits=(-1.0, 0.0),
)
_add(
    "gelu",
    value=_gelu,
    derivative=_gelu_slope,
    torch_module=lambda torch, a: torch.nn.GELU(),
    torch_code="nn.GELU()",
    latex=r"h\,\Phi(h)",
    source="Hendrycks & Gimpel 2016",
    note="its critical fixed points below q about 3 to 4 are unstable",
    closed=_gelu_moments,
)
_add(
    "gelu_tanh",
    value=_gelu_tanh,
    derivative=_gelu_tanh_slope,
    torch_module=lambda torch, a: torch.nn.GELU(approximate="tanh"),
    torch_code='nn.GELU(approximate="tanh")',
    latex=r"\tfrac{h}{2}(1+\tanh(\sqrt{2/\pi}(h+0.044715h^3)))",
    source="Hendrycks & Gimpel 2016",
    note="the tanh approximation of GELU",
)
_add(
    "silu",
    value=_silu,
    derivative=_silu_slope,
    torch_module=lambda torch, a: torch.nn.SiLU(),
    torch_code="nn.SiLU()",
    latex=r"h\,\sigma(h)",
    source="Elfwing et al. 2018; Ramachandran et al. 2017 (swish)",
    note="its critical fixed points below q about 13 to 18 are unstable",
)
_add(
    "mish",
    value=_mish,
    derivative=_mish_slope,
    torch_module=lambda torch, a: torch.nn.Mish(),
    torch_code="nn.Mish()",
    latex=r"h \tanh(\ln(1+e^h))",
    source="Misra 2019",
    note="its critical fixed points below q about 1.3 to 1.8 are unstable",
)
_add(
    "hardswish",
    value=_hardswish,
    derivative=_hardswish_slope,
    torch_module=lambda torch, a: torch.nn.Hardswish(),
    torch_code="nn.Hardswish()",
    latex=r"h\,\mathrm{relu6}(h+3)/6",
    source="Howard et al. 2019",
    note="piecewise quadratic SiLU; unstable critical points below q about 4 to 6",
    kinks=(-3.0, 3.0),
    flat=((-INF, -3.0),),
)
_add(
    "softplus",
    value=_softplus,
    derivative=_sigmoid,
    torch_module=lambda torch, a: torch.nn.Softplus(),
    torch_code="nn.Softplus()",
    latex=r"\ln(1+e^h)",
    source="Dugas et al. 2001",
    note="has no critical point at all",
)
_add(
    "tanh",
    value=_tanh,
    derivative=_tanh_slope,
    torch_module=lambda torch, a: torch.nn.Tanh(),
    torch_code="nn.Tanh()",
    latex=r"\tanh(h)",
    source="LeCun et al. 1998; Poole et al. 2016",
    note="critical line from sigma_w = 1, sigma_b = 0",
    tails=lambda a: (0.0, 0.0),
    limits=(-1.0, 1.0),
    odd=True,
    torch_gain=lambda a: 5.0 / 3.0,
)
_add(
    "hardtanh",
    value=lambda h, a: np.clip(h, -1.0, 1.0),
    derivative=_between(-1.0, 1.0, 1.0),
    torch_module=lambda torch, a: torch.nn.Hardtanh(),
    torch_code="nn.Hardtanh()",
    latex=r"\min(\max(h,-1),1)",
    source="Collobert 2004",
    note="linear inside [-1, 1], flat outside",
    kinks=(-1.0, 1.0),
    flat=((-INF, -1.0), (1.0, INF)),
    tails=lambda a: (0.0, 0.0),
    limits=(-1.0, 1.0),
    odd=True,
)
_add(
    "sigmoid",
    value=_sigmoid,
    derivative=_sigmoid_slope,
    torch_module=lambda torch, a: torch.nn.Sigmoid(),
    torch_code="nn.Sigmoid()",
    latex=r"1/(1+e^{-h})",
    source="Glorot & Bengio 2010; Nielsen 2015, ch. 5",
    note="slope at most 1/4: each layer loses about 18x in mean square with Xavier",
    tails=lambda a: (0.0, 0.0),
    limits=(0.0, 1.0),
    torch_gain=lambda a: 1.0,
)
_add(
    "hardsigmoid",
    value=lambda h, a: np.clip(h + 3.0, 0.0, 6.0) / 6.0,
    derivative=_between(-3.0, 3.0, 1.0 / 6.0),
    torch_module=lambda torch, a: torch.nn.Hardsigmoid(),
    torch_code="nn.Hardsigmoid()",
    latex=r"\mathrm{relu6}(h+3)/6",
    source="Courbariaux et al. 2015",
    note="piecewise linear sigmoid",
    kinks=(-3.0, 3.0),
    flat=((-INF, -3.0), (3.0, INF)),
    tails=lambda a: (0.0, 0.0),
    limits=(0.0, 1.0),
)
_add(
    "softsign",
    value=_softsign,
    derivative=lambda h, a: 1.0 / (1.0 + np.abs(h)) ** 2,
    torch_module=lambda torch, a: torch.nn.Softsign(),
    torch_code="nn.Softsign()",
    latex=r"h/(1+|h|)",
    source="Bergstra et al. 2009; Glorot & Bengio 2010",
    note="saturates polynomially; second derivative jumps at 0",
    kinks=(0.0,),
    tails=lambda a: (0.0, 0.0),
    limits=(-1.0, 1.0),
    odd=True,
)
_add(
    "erf",
    value=lambda h, a: _special("erf")(h),
    derivative=lambda h, a: 2.0 / math.sqrt(math.pi) * np.exp(-h * h),
    torch_module=lambda torch, a: _elementwise(torch, "erf"),
    torch_code="torch.erf",
    latex=r"\mathrm{erf}(h)",
    source="Williams 1997",
    note="the sigmoid whose Gaussian moments are closed forms",
    tails=lambda a: (0.0, 0.0),
    limits=(-1.0, 1.0),
    odd=True,
    closed=_erf_moments,
)
_add(
    "sin",
    value=lambda h, a: np.sin(h),
    derivative=lambda h, a: np.cos(h),
    torch_module=lambda torch, a: _elementwise(torch, "sin"),
    torch_code="torch.sin",
    latex=r"\sin(h)",
    source="Sitzmann et al. 2020",
    note="oscillates: at large q the output is random phase, E phi^2 = 1/2",
    tails=lambda a: (0.0, 0.0),
    odd=True,
    oscillates=True,
    closed=_sin_moments,
)
