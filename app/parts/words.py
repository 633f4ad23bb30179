"""What the pages say: the network in one line, numbers with their errors, times, the state of a measurement."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.i18n import mark, t
from gradcore.estimates import Estimate
from gradcore.spec import Spec
from gradcore.words import LN10, number_text

if TYPE_CHECKING:
    from gradcore.charts import Agreement

QUANTITY_LABELS = {
    "log_q": mark("signal z"),
    "log_p": mark("layer input x"),
    "log_g": mark("gradient δ"),
    "log_dw": mark("weight gradient"),
    "log_db": mark("bias gradient"),
}
MOST_DECIMALS = 4


def network_text(spec: Spec) -> str:
    """The network in one line: what it is made of, then what flows through it."""
    widths = f"{spec.width:,}" if isinstance(spec.width, int) else "–".join(f"{n:,}" for n in spec.width[:8])
    width = widths + ("…" if isinstance(spec.width, tuple) and len(spec.width) > 8 else "")
    gain = spec.gain if isinstance(spec.gain, str) else f"{spec.gain:.4g}"
    parts = [
        t("1 layer × {width} units", width=width)
        if spec.depth == 1
        else t("{depth} layers × {width} units", depth=spec.depth, width=width),
        spec.activation,
        t("{init} at gain {gain}", init=spec.init, gain=gain),
    ]
    if spec.bias_std != 0.0:
        parts.append(t("bias std {bias}", bias=spec.bias_std))
    if spec.norm != "none":
        parts.append(t("{norm} norm", norm=spec.norm))
    if spec.residual != "none":
        parts.append(t("{residual} residual", residual=spec.residual))
    parts.append(t("batch of {batch}, {input} input", batch=spec.batch_size, input=spec.input))
    parts.append(t("loss: {loss}", loss=spec.loss))
    return " · ".join(parts)


def estimate_text(estimate: Estimate) -> str:
    """0.7064 ± 0.0007, (4.0 ± 0.3)e-8, and 1.2e-9 ×÷ 36 where the error is a factor rather than an addition."""
    log10, error = estimate.log / LN10, estimate.error
    if error is None or math.isnan(error) or not math.isfinite(log10):
        return number_text(log10, 3)
    if error > 0.5:
        return f"{number_text(log10)} ×÷ {number_text(error / LN10)}"
    exponent = 0 if -3.0 <= log10 < 4.0 else math.floor(log10)
    value = 10.0 ** (log10 - exponent)
    digits = _decimals(value * error)
    if digits > MOST_DECIMALS:
        text = f"{value:.{MOST_DECIMALS}f} ± {value * error:.0e}" if error else f"{value:.{MOST_DECIMALS}f}"
    else:
        text = f"{value:.{digits}f} ± {value * error:.{digits}f}"
    return f"({text})e{exponent}" if exponent else text


def _decimals(error: float) -> int:
    """How many decimals show this error's first digit, or two where that is a 1."""
    if error <= 0.0:
        return MOST_DECIMALS + 1
    first = math.floor(math.log10(error))
    return max(0, -first + (1 if error < 2.0 * 10.0**first else 0))


def seconds_text(seconds: float) -> str:
    """About how long, in a few characters."""
    if seconds < 0.0995:
        return t("{milliseconds} ms", milliseconds=max(1, round(1000 * seconds)))
    if seconds < 1.95:
        return t("{seconds} s", seconds=f"{seconds:.1f}")
    if seconds < 90:
        return t("{seconds} s", seconds=round(seconds))
    if seconds < 5400:
        return t("{minutes} min", minutes=round(seconds / 60))
    return t("{hours} h", hours=round(seconds / 3600))


def agreement_text(worst: Agreement) -> str:
    """How far apart prediction and measurement are, where it is worst."""
    if not worst.layer:
        return t("one network: no error to compare by")
    values = {
        "z": f"{worst.z:.1f}" if math.isfinite(worst.z) else "∞",
        "quantity": t(QUANTITY_LABELS[worst.quantity]),
        "layer": worst.layer,
    }
    if worst.agrees:
        return t("prediction holds: at most {z} σ away ({quantity}, layer {layer})", **values)
    return t("prediction is off: {z} σ away ({quantity}, layer {layer})", **values)
