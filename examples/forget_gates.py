"""How far back in time does an LSTM's gradient reach? Forget biases 0 to 3: predicted, then measured in torch."""

import gradcore as gc
from gradcore.charts import gates

for bias in (0.0, 1.0, 2.0, 3.0):
    spec = gc.CellSpec(cell="lstm", hidden_size=64, input_size=16, steps=60, forget_bias=bias)
    profile = gc.predict_cell(spec)
    measured = gc.measure_cell(spec, networks=8)
    print(f"forget bias {bias:.0f}: x{profile.factor():.4f} a step predicted, x{measured.factor():.4f} measured")

picture = gates.gradient_chart(profile, measured)
