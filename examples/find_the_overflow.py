"""At which layer does each precision overflow with weights N(0, 1)? Predicted, then seen in plain torch."""

import gradcore as gc
from gradcore import charts

spec = gc.Spec(depth=40, width=400, activation="linear", init="normal", gain=1.0)
profile = gc.predict(spec)
events = profile.precision
measured = gc.measure(spec, networks=4, seed=0)

print("dtype     predicted  first inf or nan in four networks")
for dtype in ("float32", "bfloat16", "float16"):
    run = measured.plain(dtype)
    seen = [min(k for k in pair if k) for pair in zip(run.first_inf, run.first_nan, strict=True)]
    print(f"{dtype:8}  layer {events[dtype].forward_overflow:3}  {', '.join(map(str, seen))}")

picture = charts.chart("forward", profile, measured, dtype="float32")
