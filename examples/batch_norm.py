"""Batch norm explodes gradients: the factor per layer for small and large batches, predicted and measured."""

import numpy as np

import gradcore as gc
from gradcore import charts

spec = gc.Spec(depth=20, width=200, activation="relu", init="kaiming_normal", norm="batch")
print("batch  gradient's mean square per layer: predicted  measured")
for batch in (8, 32, 128):
    one = spec.replace(batch_size=batch)
    profile, measured = gc.predict(one), gc.measure(one, networks=8, seed=0)
    steps = -np.diff(measured.mean("log_g"))[4:-2]
    print(f"{batch:5}  {profile.chi[10]:42.3f}  {np.exp(steps.mean()):8.3f}")

picture = charts.chart("backward", profile, measured)
