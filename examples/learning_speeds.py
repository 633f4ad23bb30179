"""Nielsen's network on the digits: the first layer learns a hundred times slower than the last. Trained for real."""

from gradcore.charts import training
from gradcore.experiments.data import digits
from gradcore.experiments.train_spec import TrainSpec, nielsen
from gradcore.experiments.training import train_all

spec = TrainSpec(network=nielsen([64, 30, 30, 30, 30, 10]), learning_rate=0.1, steps=60)
run = train_all(spec, digits())

for layer, speed in enumerate(run.steps[0].speeds, start=1):
    print(f"layer {layer}: |dC/db| = {speed:.4f} before the first step")

shown = [training.Shown("Nielsen's network", run)]
picture = training.layer_chart(training.SPEEDS, shown, depth=len(run.steps[0].speeds), steps=spec.steps)
