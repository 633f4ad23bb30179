"""The table of the chain's experiments: one entry is a number, a title, one plain sentence and what is asked.

Adding one is one more ``_add``; the page's buttons, the links in the docs and the tests follow. tests/test_chain.py
checks every figure of the sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradcore.errors import SpecError
from gradcore.experiments.chain.question import ChainQuestion


@dataclass(frozen=True)
class ChainPreset:
    """One experiment: ``experiment`` its number ("1.6"), ``code`` its name, ``title`` a short label, ``sentence`` its
    point, ``question`` what is asked; ``query`` the parameters of its link."""

    code: str
    experiment: str
    title: str
    sentence: str
    question: ChainQuestion

    @property
    def query(self) -> dict[str, str]:
        """Query parameters of the page Chain."""
        return self.question.to_query()


PRESETS: dict[str, ChainPreset] = {}


def _add(code: str, experiment: str, title: str, sentence: str, **asked: Any) -> None:
    PRESETS[code] = ChainPreset(code, experiment, title, sentence, ChainQuestion(**asked))


def find_chain_preset(code: str) -> ChainPreset:
    """The preset of this name or number. Raises SpecError where there is none."""
    for preset in PRESETS.values():
        if code in (preset.code, preset.experiment):
            return preset
    raise SpecError("preset", code, "one of " + ", ".join(PRESETS))


_add(
    "product",
    "1.1",
    "The product",
    "dC/db₁ is a product: the slope σ′(z₁), one factor w σ′(z) for every further neuron, then dC/da of the output. "
    "Multiply them, and you have what backpropagation computes.",
)
_add(
    "nudge",
    "1.2",
    "A small change",
    "Add 0.1 to b₁ and follow it: each neuron passes its share on by one factor, and ΔC/Δb₁ tends to the product as "
    "the change gets smaller.",
    view="nudge",
)
_add(
    "slope",
    "1.3",
    "Slope at most 1/4",
    "The slope of the sigmoid is exactly 0.25 at 0 and smaller everywhere else.",
    view="derivative",
)
_add(
    "random",
    "1.4",
    "Random chains vanish",
    "Of weights drawn from N(0, 1), 68% are smaller than 1 in size (20% smaller than 1/4), so most factors are below "
    "1/4 and the product of ten neurons shrinks exponentially.",
    length=10,
    view="random",
)
_add(
    "early_late",
    "1.5",
    "Early against late",
    "dC/db₁ has two factors more than dC/db₃: two factors below 1/4 make it less than 1/16 of it.",
    length=5,
    seed=2,
)
_add(
    "exploding",
    "1.6",
    "Exploding chain",
    "Weights of 100 with b = −100 a before each neuron keep every z at 0: every factor is exactly 100 · 1/4 = 25.",
    weights="100",
    biases="cancel",
)
_add(
    "interval",
    "1.7",
    "Explosive interval",
    "A sigmoid's factor can reach 1 only from weights of size 4 on, and then only for activations in an interval at "
    "most 0.448 wide, at |w| = 6.89. Here every neuron is in the middle of its interval.",
    weights="6.894",
    biases="cancel",
    view="interval",
)
_add(
    "balance",
    "1.8",
    "Balance is luck",
    "Few random chains keep their first gradient within a factor 10 of the last, fewer the longer they are, and no "
    "scale of the weights holds the share up.",
    weight_std=4.0,
    view="balance",
)
_add(
    "training",
    "1.9",
    "Training",
    "Train the chain by gradient descent and follow its factors: here not one of them ever reaches 1.",
    length=5,
    target=1.0,
    view="training",
)
