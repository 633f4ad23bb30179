"""The single-neuron chain: the product of factors behind every vanishing and exploding gradient.

>>> from gradcore.experiments import chain
>>> chain.exploding(4).factors[1:].tolist()
[25.0, 25.0, 25.0]

NumPy alone; activations from gradcore's table. Natural logarithms. Source: Nielsen, *Neural Networks and Deep Learning*
(2015), ch. 5.
"""

from gradcore.experiments.chain.interval import (
    Peak,
    explosive_interval,
    explosive_width,
    has_width,
    least_weight,
    sigmoid_width,
    steepest,
    widest,
)
from gradcore.experiments.chain.laws import Draws, Normal, draw_chains, random_chain
from gradcore.experiments.chain.log_law import LogLaw
from gradcore.experiments.chain.log_normal_weight import MEAN_LOG, VARIANCE_LOG
from gradcore.experiments.chain.prediction import Prediction, predict_chains
from gradcore.experiments.chain.presets import PRESETS, ChainPreset, find_chain_preset
from gradcore.experiments.chain.single import COSTS, Chain
from gradcore.experiments.chain.story import (
    Comparison,
    Nudge,
    Step,
    cancelling_biases,
    early_against_late,
    exploding,
    nudge,
    nudges,
)
from gradcore.experiments.chain.training import Training, train

__all__ = [
    "COSTS",
    "MEAN_LOG",
    "PRESETS",
    "VARIANCE_LOG",
    "Chain",
    "ChainPreset",
    "Comparison",
    "Draws",
    "LogLaw",
    "Normal",
    "Nudge",
    "Peak",
    "Prediction",
    "Step",
    "Training",
    "cancelling_biases",
    "draw_chains",
    "early_against_late",
    "exploding",
    "explosive_interval",
    "explosive_width",
    "find_chain_preset",
    "has_width",
    "least_weight",
    "nudge",
    "nudges",
    "predict_chains",
    "random_chain",
    "sigmoid_width",
    "steepest",
    "train",
    "widest",
]
