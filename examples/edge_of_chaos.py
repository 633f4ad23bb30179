"""Where do gradients of a tanh network survive? Weight and bias scale, all cells at once, with the critical line."""

import numpy as np

import gradcore as gc
from gradcore import charts

spec = gc.Spec(depth=50, width=400, activation="tanh", init="lecun_normal", gain=1.5, bias_std=0.1)
found = gc.phase_map(spec, ("sigma_w", np.linspace(0.5, 3.0, 60)), ("sigma_b", np.linspace(0.0, 0.8, 40)))

print("sigma_b  critical sigma_w")
for bias_std in (0.0, 0.2, 0.4, 0.8):
    print(f"{bias_std:7.2f}  {gc.critical_gain('tanh', bias_std=bias_std):.4f}")
print(charts.stands_text(found))

picture = charts.phase_chart(found)
