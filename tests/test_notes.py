"""Notes on what textbooks get wrong: each appears where it matters, with the figure of this network, and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest

import gradcore as gc


def notes_of(**fields: object) -> dict[str, gc.Note]:
    return {note.message_id: note for note in gc.predict(gc.Spec(**{"depth": 12, **fields})).notes}


def test_layer_norm_after_relu() -> None:
    note = notes_of(norm="layer", norm_position="after", norm_eps=0.0)["layer_norm_after"]
    assert note.values["factor"] == pytest.approx(math.pi / (math.pi - 1.0), rel=1e-9)
    for other in ({"norm": "rms", "norm_position": "after"}, {"norm": "layer"}, {}):
        assert "layer_norm_after" not in notes_of(**other)
    assert "layer_norm_after" not in notes_of(norm="layer", norm_position="after", activation="linear")


def test_correlated_batches() -> None:
    note = notes_of(init="kaiming_normal", depth=40)["correlated_batch"]
    assert note.values["correlation"] > 0.9  # deep ReLU nets make all samples alike
    assert "correlated_batch" not in notes_of(activation="linear")
    assert "correlated_batch" not in notes_of(init="kaiming_normal", depth=40, batch_size=1)


def test_the_first_batch_norm() -> None:
    """Samples correlated at 0.9, B = 32: ReLU's first factor is 5.31 (Yang et al. 2019, transient), later ones 1.53."""
    fields = {"norm": "batch", "batch_size": 32, "init": "kaiming_normal", "norm_eps": 1e-12}
    note = notes_of(**fields, input_correlation=0.9)["batch_norm_transient"]
    assert note.values["first"] == pytest.approx(5.31, abs=0.01)
    assert "batch_norm_transient" not in notes_of(**{**fields, "activation": "linear"})


def test_branch_means_add_up() -> None:
    fields = {"residual": "post_activation", "residual_scale": "1/sqrt(L)", "init": "kaiming_normal", "depth": 21}
    note = notes_of(**fields)["branch_mean"]
    profile = gc.predict(gc.Spec(**fields))
    assert note.values["growth"] == pytest.approx(float(np.exp(profile.log_q[-1] - profile.log_q[0])))
    assert note.values["growth"] > 10.0  # (1 + 1/L)^L would be below e
    assert "branch_mean" not in notes_of(residual="identity")


def test_branches_that_are_switched_off_say_by_what() -> None:
    flat = {"activation": "erf", "init": "eye", "gain": 1e17, "input_rms": 1e17, "norm": "none"}
    causes = [
        ({"residual_scale": 0.0}, "residual_scale"),
        ({"norm_gamma": 0.0}, "norm_gamma"),
        (flat, "the activation"),
    ]
    for fields, cause in causes:
        spec = {"depth": 4, "residual": "post_activation", "norm": "layer", "norm_position": "after", **fields}
        assert notes_of(**spec)["dead_branch"].values["reason"].count(cause) == 1
