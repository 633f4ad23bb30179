"""The question as a gradcore script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcore.codec import to_snippet

if TYPE_CHECKING:
    from gradcore.spec import Spec


def script(spec: Spec, networks: int = 32, seed: int = 0, dtype: str = "float64", sampler: str = "dense") -> str:
    """Python code that predicts this Spec, gives the verdict, measures it and compares; ``dtype`` of the networks,
    ``sampler`` as in ``measure``."""
    options = f', sampler="{sampler}"' if sampler != "dense" else ""
    options += f', dtype="{dtype}"' if dtype != "float64" else ""
    return (
        "import gradcore as gc\n\n"
        f"spec = {to_snippet(spec)}\n"
        "predicted = gc.predict(spec)\n"
        "print(gc.diagnose(predicted))\n"
        f"measured = gc.measure(spec, networks={networks}, seed={seed}{options})\n"
        "print(gc.compare(predicted, measured))\n"
    )
