"""A real network of 100 layers of 20,000 units, measured without forming a weight matrix, against its prediction."""

import gradcore as gc
from gradcore import charts

spec = gc.Spec(depth=100, width=20_000, activation="tanh", init="lecun_normal", gain=1.1, batch_size=4)
profile = gc.predict(spec)
measured = gc.measure(spec, networks=8, seed=0, sampler="exact")  # the same law as real matrices, for Gaussian weights

for layer in (1, 50, 100):
    error = measured.standard_error("log_g")[layer - 1]
    print(f"layer {layer:3}: ln E[delta^2] predicted {profile.log_g_mean[layer - 1]:7.3f}, ", end="")
    print(f"measured {measured.mean('log_g')[layer - 1]:7.3f} +- {error:.3f}")
print(gc.compare(profile, measured))

picture = charts.chart("backward", profile, measured)
