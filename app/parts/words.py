"""What the pages say: the network in one line, numbers with their errors, times, the state of a measurement."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.i18n import mark, t
from gradcore.charts import estimate_text
from gradcore.spec import Spec

if TYPE_CHECKING:
    from gradcore.charts import Agreement

__all__ = ["QUANTITY_LABELS", "agreement_text", "estimate_text", "network_text", "seconds_text"]
QUANTITY_LABELS = {
    "log_q": mark("signal z"),
    "log_p": mark("layer input x"),
    "log_g": mark("gradient δ"),
    "log_dw": mark("weight gradient"),
    "log_db": mark("bias gradient"),
}


def short_text(spec: Spec) -> str:
    """The network in a few words: what it always has, then what is not at its default."""
    width = f"{spec.width:,}" if isinstance(spec.width, int) else "…"
    gain = spec.gain if isinstance(spec.gain, str) else f"{spec.gain:.3g}"
    parts = [spec.activation, f"{spec.depth:,} × {width}", f"{spec.init} {gain}"]
    parts += [] if spec.norm == "none" else [t("{norm} norm", norm=spec.norm)]
    parts += [] if spec.residual == "none" else [t("{residual} residual", residual=spec.residual)]
    parts += [] if spec.bias_std == 0.0 else [t("bias std {bias}", bias=spec.bias_std)]
    return " · ".join(parts)


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
