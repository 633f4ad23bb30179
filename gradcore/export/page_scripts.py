"""Every page of the explorer as a script that prints its numbers from the library alone: the table by page address.

    PAGE_SCRIPTS["chain"](ChainQuestion(length=6))      # Python text, complete and runnable

Each function takes what its page asks; see its own signature. The texts are English. Where theory refuses a question,
or a field has a value that is not allowed, the script prints the refusal.
"""

from __future__ import annotations

from collections.abc import Callable

from gradcore.export.experiment_scripts import chain_script, gates_script, learn_script
from gradcore.export.network_scripts import activations_script, compare_script, initializers_script, phase_map_script
from gradcore.export.remedy_scripts import remedies_script
from gradcore.export.scripts import page_script
from gradcore.export.training_scripts import symptoms_script, train_script

PAGE_SCRIPTS: dict[str, Callable[..., str]] = {  # page address -> its script
    "explore": page_script,
    "compare": compare_script,
    "phase-map": phase_map_script,
    "activations": activations_script,
    "initializers": initializers_script,
    "chain": chain_script,
    "train": train_script,
    "symptoms": symptoms_script,
    "remedies": remedies_script,
    "gates": gates_script,
    "learn": learn_script,
}
