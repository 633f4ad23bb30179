"""The tab on the Jacobian: predicted spread, measured singular values, refusals in calm words."""

from __future__ import annotations

import pytest

from tests.app.pages import captions, chart_specs, open_tab, small_app


def test_predicted_and_measured_side_by_side() -> None:
    app = open_tab(small_app(activation="linear", batch_size="1"), "Jacobian")
    assert not app.exception
    assert any("spread m₂/m₁² of **6.00**" in text.value for text in app.markdown)  # 1 + L
    drawn = chart_specs(app)[-1]
    assert drawn["title"] == "Singular values of the Jacobian"
    series = drawn["layer"][0]["encoding"]["color"]["scale"]["domain"]
    assert series == ["xavier_normal, network 0", "orthogonal at the same σ_w"]
    assert "Fuss-Catalan" in captions(app)


def test_an_isometry_is_called_one() -> None:
    app = open_tab(small_app(activation="linear", init="orthogonal"), "Jacobian")
    assert any("isometry" in text.value for text in app.markdown)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"norm": "layer"}, "only the product of equally wide random layers is known"),
        ({"norm": "batch", "batch_size": "8"}, "every sample of the batch moves every other"),
        ({"init": "constant", "gain": "0.1"}, "only the product of equally wide random layers is known"),
        ({"width": "16,8,16,16,16"}, "only the product of equally wide random layers is known"),
        ({"gain": "0"}, "gain"),
    ],
)
def test_what_is_not_known_is_said(query: dict[str, str], words: str) -> None:
    app = open_tab(small_app(**query), "Jacobian")
    assert not app.exception
    assert words in captions(app)
