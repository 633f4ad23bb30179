"""The table of initializers: the law of W (variance at a gain) beside torch's own call.

``variance(gain, fan_in, fan_out, a, sparsity)`` is E[W_ij^2]; every law but ``constant`` and ``eye`` has
mean 0 and independent (or Haar orthogonal) entries. ``kind`` tells the theory which law it is:
"gaussian", "uniform", "truncated", "sparse" (iid entries), "orthogonal", "constant" or "eye".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Initializer:
    """One initializer. ``fill(torch, weight, gain, a, sparsity, generator)`` draws it in place by torch.

    ``family`` groups it as courses do, ``scaling`` (a key of SCALINGS) by what sets its scale; ``formula`` is E[W^2]
    in words, with n = fan_in, m = fan_out. ``own_gain`` is the gain at which torch's call has its own default scale.
    """

    code: str
    variance: Callable[[float, int, int, float, float], float]
    fill: Callable[[Any, Any, float, float, float, Any], None]
    torch_code: str
    formula: str
    family: str
    source: str
    kind: str = "gaussian"
    scaling: str = "fan"
    own_gain: float = 1.0
    unit_std_is_linear_in_gain: bool = True


SCALINGS = {
    "constant": "Constant-like: no two units differ, or none mixes",
    "fixed": "Fixed scale: does not know the width",
    "fan": "Fan-scaled: variance follows the width",
    "orthogonal": "Orthogonal: keeps lengths exactly",
}

INITIALIZERS: dict[str, Initializer] = {}

ALIASES = {
    "glorot_uniform": "xavier_uniform",
    "glorot_normal": "xavier_normal",
    "he_uniform": "kaiming_uniform",
    "he_normal": "kaiming_normal",
    "he_uniform_fan_out": "kaiming_uniform_fan_out",
    "he_normal_fan_out": "kaiming_normal_fan_out",
    "truncated_normal": "trunc_normal",
    "identity": "eye",
}


def _add(code: str, **entry: Any) -> None:
    INITIALIZERS[code] = Initializer(code=code, **entry)


# --- laws --------------------------------------------------------------------------------------------------


def _xavier(g: float, n: int, m: int, a: float, s: float) -> float:
    return 2.0 * g * g / (n + m)


def _kaiming(g: float, n: int, m: int, a: float, s: float) -> float:
    return 2.0 * g * g / ((1.0 + a * a) * n)


def _kaiming_fan_out(g: float, n: int, m: int, a: float, s: float) -> float:
    return 2.0 * g * g / ((1.0 + a * a) * m)


def truncated_variance(std: float) -> float:
    """E[W^2] of torch.nn.init.trunc_normal_(std=std): a normal law cut at the absolute bounds -2 and 2.

    With k = 2/std: std^2 (1 - 2 k pdf(k) / erf(k/sqrt 2)); for std >> 2 the law tends to U(-2, 2), whose
    variance is 4/3. Below k = 0.02 the difference of near-equal terms is replaced by its series.
    """
    if std == 0.0:
        return 0.0
    k = 2.0 / std
    if k < 0.02:
        return 4.0 / 3.0 * (1.0 - 2.0 * k * k / 15.0)
    pdf = math.exp(-0.5 * k * k) / math.sqrt(2.0 * math.pi) if k < 40 else 0.0
    return std * std * (1.0 - 2.0 * k * pdf / math.erf(k / math.sqrt(2.0)))


def sparse_zeros(fan_out: int, sparsity: float) -> int:
    """How many of the fan_out entries of each column torch.nn.init.sparse_ sets to zero."""
    return math.ceil(sparsity * fan_out)


def _sparse(g: float, n: int, m: int, a: float, s: float) -> float:
    return g * g * (1.0 - sparse_zeros(m, s) / m)


# --- torch sides -------------------------------------------------------------------------------------------


def _kaiming_fill(function: str, mode: str) -> Callable[..., None]:
    def fill(torch: Any, w: Any, g: float, a: float, s: float, generator: Any) -> None:
        getattr(torch.nn.init, function)(w, a=a, mode=mode, nonlinearity="leaky_relu", generator=generator)
        w.mul_(g)

    return fill


def _lecun_fill(torch: Any, w: Any, g: float, a: float, s: float, generator: Any) -> None:
    torch.nn.init.normal_(w, std=g / math.sqrt(w.shape[1]), generator=generator)


def _trunc_fill(torch: Any, w: Any, g: float, a: float, s: float, generator: Any) -> None:
    if g == 0.0:
        w.zero_()
    else:
        torch.nn.init.trunc_normal_(w, std=g, generator=generator)


def _sparse_fill(torch: Any, w: Any, g: float, a: float, s: float, generator: Any) -> None:
    """torch.nn.init.sparse_'s law; written out because its randperm ignores the generator it is given."""
    rows, columns = w.shape
    w.normal_(0.0, g, generator=generator)
    zeros = sparse_zeros(rows, s)
    for column in range(columns):
        w[torch.randperm(rows, generator=generator)[:zeros], column] = 0.0


def _eye_fill(torch: Any, w: Any, g: float, a: float, s: float, generator: Any) -> None:
    torch.nn.init.eye_(w)
    w.mul_(g)


def _linear_default_fill(torch: Any, w: Any, g: float, a: float, s: float, generator: Any) -> None:
    torch.nn.init.kaiming_uniform_(w, a=math.sqrt(5.0), generator=generator)
    w.mul_(g)


# --- the table ---------------------------------------------------------------------------------------------

_add(
    "xavier_uniform",
    variance=_xavier,
    fill=lambda t, w, g, a, s, r: t.nn.init.xavier_uniform_(w, gain=g, generator=r),
    torch_code="nn.init.xavier_uniform_(w, gain={gain})",
    formula="2 g^2 / (n + m)",
    family="Xavier",
    source="Glorot & Bengio 2010",
    kind="uniform",
)
_add(
    "xavier_normal",
    variance=_xavier,
    fill=lambda t, w, g, a, s, r: t.nn.init.xavier_normal_(w, gain=g, generator=r),
    torch_code="nn.init.xavier_normal_(w, gain={gain})",
    formula="2 g^2 / (n + m)",
    family="Xavier",
    source="Glorot & Bengio 2010",
)
_add(
    "kaiming_uniform",
    variance=_kaiming,
    fill=_kaiming_fill("kaiming_uniform_", "fan_in"),
    torch_code='nn.init.kaiming_uniform_(w, a={slope}, nonlinearity="leaky_relu"); w.mul_({gain})',
    formula="2 g^2 / ((1 + a^2) n)",
    family="Kaiming",
    source="He et al. 2015",
    kind="uniform",
)
_add(
    "kaiming_normal",
    variance=_kaiming,
    fill=_kaiming_fill("kaiming_normal_", "fan_in"),
    torch_code='nn.init.kaiming_normal_(w, a={slope}, nonlinearity="leaky_relu"); w.mul_({gain})',
    formula="2 g^2 / ((1 + a^2) n)",
    family="Kaiming",
    source="He et al. 2015",
)
_add(
    "kaiming_uniform_fan_out",
    variance=_kaiming_fan_out,
    fill=_kaiming_fill("kaiming_uniform_", "fan_out"),
    torch_code=('nn.init.kaiming_uniform_(w, a={slope}, mode="fan_out", nonlinearity="leaky_relu"); w.mul_({gain})'),
    formula="2 g^2 / ((1 + a^2) m)",
    family="Kaiming",
    source="He et al. 2015",
    kind="uniform",
)
_add(
    "kaiming_normal_fan_out",
    variance=_kaiming_fan_out,
    fill=_kaiming_fill("kaiming_normal_", "fan_out"),
    torch_code=('nn.init.kaiming_normal_(w, a={slope}, mode="fan_out", nonlinearity="leaky_relu"); w.mul_({gain})'),
    formula="2 g^2 / ((1 + a^2) m)",
    family="Kaiming",
    source="He et al. 2015",
)
_add(
    "lecun_normal",
    variance=lambda g, n, m, a, s: g * g / n,
    fill=_lecun_fill,
    torch_code="nn.init.normal_(w, std={gain} / math.sqrt(w.shape[1]))",
    formula="g^2 / n",
    family="Xavier",
    source="LeCun et al. 1998",
)
_add(
    "uniform",
    variance=lambda g, n, m, a, s: g * g / 3.0,
    fill=lambda t, w, g, a, s, r: t.nn.init.uniform_(w, -g, g, generator=r),
    torch_code="nn.init.uniform_(w, -{gain}, {gain})",
    formula="g^2 / 3",
    family="plain distributions",
    source="torch.nn.init",
    kind="uniform",
    scaling="fixed",
)
_add(
    "normal",
    variance=lambda g, n, m, a, s: g * g,
    fill=lambda t, w, g, a, s, r: t.nn.init.normal_(w, std=g, generator=r),
    torch_code="nn.init.normal_(w, std={gain})",
    formula="g^2",
    family="plain distributions",
    source="torch.nn.init",
    scaling="fixed",
)
_add(
    "trunc_normal",
    variance=lambda g, n, m, a, s: truncated_variance(g),
    fill=_trunc_fill,
    torch_code="nn.init.trunc_normal_(w, std={gain})",
    formula="g^2 (1 - 2 k pdf(k) / (2 Phi(k) - 1)), k = 2/g",
    family="plain distributions",
    source="torch.nn.init (cuts at -2 and 2, absolute)",
    kind="truncated",
    unit_std_is_linear_in_gain=False,
    scaling="fixed",
)
_add(
    "constant",
    variance=lambda g, n, m, a, s: g * g,
    fill=lambda t, w, g, a, s, r: t.nn.init.constant_(w, g),
    torch_code="nn.init.constant_(w, {gain})",
    formula="every entry g: not random, the exact scalar map instead",
    family="plain distributions",
    source="torch.nn.init",
    kind="constant",
    scaling="constant",
)
_add(
    "orthogonal",
    variance=lambda g, n, m, a, s: g * g / max(n, m),
    fill=lambda t, w, g, a, s, r: t.nn.init.orthogonal_(w, gain=g, generator=r),
    torch_code="nn.init.orthogonal_(w, gain={gain})",
    formula="g^2 / max(n, m)",
    family="special matrices",
    source="Saxe et al. 2014",
    kind="orthogonal",
    scaling="orthogonal",
)
_add(
    "eye",
    variance=lambda g, n, m, a, s: g * g * min(n, m) / (n * m),
    fill=_eye_fill,
    torch_code="nn.init.eye_(w); w.mul_({gain})",
    formula="g times the identity: not random, the exact elementwise map instead",
    family="special matrices",
    source="torch.nn.init",
    kind="eye",
    scaling="constant",
)
_add(
    "sparse",
    variance=_sparse,
    fill=_sparse_fill,
    torch_code="nn.init.sparse_(w, sparsity={sparsity}, std={gain})",
    formula="g^2 (1 - ceil(s m) / m)",
    family="special matrices",
    source="Martens 2010",
    kind="sparse",
    scaling="fixed",
    own_gain=0.01,
)
_add(
    "linear_default",
    variance=lambda g, n, m, a, s: g * g / (3.0 * n),
    fill=_linear_default_fill,
    torch_code="nn.init.kaiming_uniform_(w, a=math.sqrt(5)); w.mul_({gain})",
    formula="g^2 / (3 n)",
    family="defaults",
    source="torch.nn.Linear",
    kind="uniform",
)
