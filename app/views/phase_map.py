"""Phase map: one number of the prediction over two settings, the critical line on it, and this network's place."""

from __future__ import annotations

from app import controls, runner
from app.parts import notices, phase
from app.parts.place import Place


def page() -> None:
    """The page: where the network stands, what is drawn, the map; a slow map fills its place as it is computed."""
    notices.draw()
    spec = notices.network()
    if spec is None:
        return
    settings = controls.question().settings
    said = phase.frame()
    phase.questions(settings)
    drawing, below = Place(), Place()
    found = phase.quick(spec, settings)
    if found is not None:
        phase.draw(said, drawing, below, found, settings.moment)
        runner.let_it_be_drawn()
        controls.sidebar()
    else:
        controls.sidebar()
        found = phase.slow(spec, settings, said, drawing)
        if found is not None:
            phase.draw(said, drawing, below, found, settings.moment)
    phase.how_to_read()
