"""What does clipping do to the gradient of a network whose gradients vanish? All layers keep their ratios."""

from gradcore.charts import clipping
from gradcore.experiments.clip_study import clip_gradients, layer_gradients
from gradcore.experiments.data import digits
from gradcore.experiments.remedies_question import PRESETS

data = digits()
gradients = layer_gradients(PRESETS["clip_vanishing"].question.plain_run(data), data)
by_norm = clip_gradients(gradients, "norm_2", limit=0.01)
by_value = clip_gradients(gradients, "value", limit=0.001)

for name, found in (("by norm", by_norm), ("by value", by_value)):
    before, after = found.ratios
    print(f"clipped {name}: first layer's norm over the last's {before:.2e} -> {after:.2e}, cosine {found.cosine:.3f}")

picture = clipping.layer_bars(by_value)
