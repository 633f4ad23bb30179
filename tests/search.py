"""Go on looking for a Spec that is neither predicted nor refused by name: ``python -m tests.search [seconds] [seed]``.

The suite asks the same Specs each time (tests/test_predict_space.py), so that what is green stays green; this draws new
ones until the time is over, and prints each failure with its Spec, once per place in the code.
"""

from __future__ import annotations

import sys
import time
import traceback
import warnings

from hypothesis import Phase, given, seed, settings

import gradcore as gc
from gradcore.theory import sampler
from tests.samples import SMALL
from tests.strategies import specs
from tests.test_predict_space import examine
from tests.test_predict_space import search as fixed

BATCH = 100  # Specs by one seed of Hypothesis


def search(seconds: float, start: int) -> int:
    """How many kinds of failure were found."""
    end, asked, found = time.monotonic() + seconds, 0, set()

    @settings(fixed, derandomize=False, phases=[Phase.generate], max_examples=BATCH)
    @given(specs())
    def one(spec: gc.Spec) -> None:
        nonlocal asked
        asked += 1
        if time.monotonic() > end:
            return
        try:
            examine(spec)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = (type(error).__name__, last.filename, last.lineno)
            if place not in found:
                found.add(place)
                print(f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})\n  {spec!r}", flush=True)

    while time.monotonic() < end:
        seed(start)(one)()
        start += 1
    print(f"{asked} Specs, {len(found)} kinds of failure; the next seed is {start}")
    return len(found)


if __name__ == "__main__":
    warnings.simplefilter("error")
    for name, value in SMALL.items():
        setattr(sampler, name, value)
    arguments = [float(text) for text in sys.argv[1:]]
    sys.exit(1 if search(arguments[0] if arguments else 600.0, int(arguments[1]) if len(arguments) > 1 else 0) else 0)
