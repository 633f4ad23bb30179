"""Orthogonal or Gaussian weights: the same gradient on average, a wholly different Jacobian."""

import math

import gradcore as gc
from gradcore import charts

spec = gc.Spec(depth=20, width=256, activation="linear", init="orthogonal", gain=1.0, batch_size=1)
gaussian = spec.replace(init="lecun_normal")
for one in (spec, gaussian):
    found, values = gc.jacobian(one), gc.singular_values(one, seed=0)
    predicted, measured = math.exp(found.log_mean_square), float((values**2).mean())
    print(f"{one.init:13} mean square {predicted:.3f} predicted, {measured:.3f} measured; largest {values.max():.3g}")

picture = charts.singular_chart({"gaussian": gc.singular_values(gaussian, seed=0)}, gc.jacobian(gaussian))
