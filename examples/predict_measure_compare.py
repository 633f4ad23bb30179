"""What theory predicts for 30 ReLU layers, what 32 torch networks measure, and how far apart the two are."""

import math

import gradcore as gc
from gradcore import charts

spec = gc.Spec(depth=30, width=128, activation="relu", init="kaiming_normal")
predicted = gc.predict(spec)
measured = gc.measure(spec, networks=32, seed=0)

low, high = predicted.band("log_g")
print("layer  gradient RMS: predicted  measured  95% of single networks")
for layer in (1, 10, 20, 30):
    logs = (predicted.log_g_mean, measured.mean("log_g"), low, high)  # ln of second moments
    one, other, least, most = (math.exp(log[layer - 1] / 2) for log in logs)
    print(f"{layer:5}  {one:23.3f}  {other:8.3f}  {least:.3f} to {most:.3f}")

print(gc.compare(predicted, measured))

picture = charts.chart("backward", predicted, measured, statistic="median")
