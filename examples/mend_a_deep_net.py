"""Does a net of 60 tanh layers pass its gradient down, and which gain mends it? Prediction only: no torch."""

import math

import gradcore as gc
from gradcore import charts


def report(name: str, spec: gc.Spec) -> gc.Profile:
    predicted = gc.predict(spec)
    norm = math.exp((predicted.log_g[0] - predicted.log_g[-1]) / 2)  # log_g is the ln of a second moment
    verdict = "vanishes" if norm < 0.01 else "explodes" if norm > 100 else "survives"
    print(f"{name}: gradient RMS at layer 1 is {norm:.3g} of the last layer's: it {verdict}")
    return predicted


spec = gc.Spec(depth=60, width=400, activation="tanh", init="lecun_normal", gain=0.8, bias_std=0.05)
before = report("gain 0.8", spec)

gain = gc.critical_gain("tanh", bias_std=0.05)
report(f"critical gain {gain:.4f}", spec.replace(gain=gain))

picture = charts.chart("backward", before)
