"""The table of activations: one entry carries theory (NumPy) and torch side by side.

Adding an activation is one call of :func:`_add` here; the command line, the app's options, the contract
tests and the docs table follow from the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradcore import elementwise as fn

Array = np.ndarray
SQRT2 = math.sqrt(2.0)
INF = math.inf


@dataclass(frozen=True)
class Activation:
    """One activation: the NumPy function and derivative, the torch operation, and what is known of it.

    ``value(h, a)`` and ``derivative(h, a)`` are elementwise; ``a`` is the negative slope (ignored by most).
    ``tails(a)`` are the slopes at -inf and +inf, ``limits`` the values there where the slope is 0.
    ``flat`` lists the intervals on which the derivative is exactly 0; ``kinks`` the points where it jumps.
    ``closed(q)`` gives (E phi, E phi^2, E phi'^2) of phi(sqrt(q) Z) where a closed form is exact and well
    conditioned for every q > 0; other activations use the quadrature of ``theory.gaussian``. ``closed_pairs`` gives
    E f(u) f(v) at (q, c) for f = phi ("value") and phi' ("slope") where it is known.
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
    closed_pairs: Mapping[str, Callable[[float, Array], Array]] = field(default_factory=dict)

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
    value=fn.leaky,
    derivative=fn.leaky_slope,
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
    value=fn.leaky,
    derivative=fn.leaky_slope,
    torch_module=lambda torch, a: torch.nn.PReLU(init=a, dtype=torch.float64),  # a keeps its digits
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
    derivative=fn.between(0.0, 6.0, 1.0),
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
    value=fn.elu,
    derivative=fn.elu_slope,
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
    value=fn.selu,
    derivative=fn.selu_slope,
    torch_module=lambda torch, a: torch.nn.SELU(),
    torch_code="nn.SELU()",
    latex=r"\lambda h\ (h>0),\ \lambda\alpha(e^h - 1)\ (h \le 0)",
    source="Klambauer et al. 2017",
    note="q* = 1 at sigma_w = 1, but the gradient grows 1.0716x a layer there",
    kinks=(0.0,),
    tails=lambda a: (0.0, fn.SELU_SCALE),
    limits=(-fn.SELU_SCALE * fn.SELU_ALPHA, 0.0),
    torch_gain=lambda a: 0.75,
)
_add(
    "celu",
    value=fn.elu,
    derivative=fn.elu_slope,
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
    value=fn.gelu,
    derivative=fn.gelu_slope,
    torch_module=lambda torch, a: torch.nn.GELU(),
    torch_code="nn.GELU()",
    latex=r"h\,\Phi(h)",
    source="Hendrycks & Gimpel 2016",
    note="its critical fixed points below q about 3 to 4 are unstable",
    closed=fn.gelu_moments,
    closed_pairs={"value": fn.gelu_pair},
)
_add(
    "gelu_tanh",
    value=fn.gelu_tanh,
    derivative=fn.gelu_tanh_slope,
    torch_module=lambda torch, a: torch.nn.GELU(approximate="tanh"),
    torch_code='nn.GELU(approximate="tanh")',
    latex=r"\tfrac{h}{2}(1+\tanh(\sqrt{2/\pi}(h+0.044715h^3)))",
    source="Hendrycks & Gimpel 2016",
    note="the tanh approximation of GELU",
)
_add(
    "silu",
    value=fn.silu,
    derivative=fn.silu_slope,
    torch_module=lambda torch, a: torch.nn.SiLU(),
    torch_code="nn.SiLU()",
    latex=r"h\,\sigma(h)",
    source="Elfwing et al. 2018; Ramachandran et al. 2017 (swish)",
    note="its critical fixed points below q about 13 to 18 are unstable",
)
_add(
    "mish",
    value=fn.mish,
    derivative=fn.mish_slope,
    torch_module=lambda torch, a: torch.nn.Mish(),
    torch_code="nn.Mish()",
    latex=r"h \tanh(\ln(1+e^h))",
    source="Misra 2019",
    note="its critical fixed points below q about 1.3 to 1.8 are unstable",
)
_add(
    "hardswish",
    value=fn.hardswish,
    derivative=fn.hardswish_slope,
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
    value=fn.softplus,
    derivative=fn.sigmoid,
    torch_module=lambda torch, a: torch.nn.Softplus(),
    torch_code="nn.Softplus()",
    latex=r"\ln(1+e^h)",
    source="Dugas et al. 2001",
    note="has no critical point at all",
)
_add(
    "tanh",
    value=fn.tanh,
    derivative=fn.tanh_slope,
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
    derivative=fn.between(-1.0, 1.0, 1.0),
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
    value=fn.sigmoid,
    derivative=fn.sigmoid_slope,
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
    derivative=fn.between(-3.0, 3.0, 1.0 / 6.0),
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
    value=fn.softsign,
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
    value=lambda h, a: fn.special("erf")(h),
    derivative=lambda h, a: 2.0 / math.sqrt(math.pi) * np.exp(-h * h),
    torch_module=lambda torch, a: _elementwise(torch, "erf"),
    torch_code="torch.erf",
    latex=r"\mathrm{erf}(h)",
    source="Williams 1997",
    note="the sigmoid whose Gaussian moments are closed forms",
    tails=lambda a: (0.0, 0.0),
    limits=(-1.0, 1.0),
    odd=True,
    closed=fn.erf_moments,
    closed_pairs={"value": fn.erf_pair, "slope": fn.erf_slope_pair},
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
    closed=fn.sin_moments,
)
