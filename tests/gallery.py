"""Draw the pictures of docs/gallery.md: ``python -m tests.gallery [example ...]``; each example makes its own."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from gradcore.export import images

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
PICTURES = ROOT / "docs" / "images" / "gallery"
WIDTH = 560  # px


def draw(name: str) -> Path:
    """Run this example and write the picture that it leaves."""
    found = runpy.run_path(str(EXAMPLES / f"{name}.py"))["picture"]
    path = PICTURES / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(images.png(found.properties(width=WIDTH)))
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py")):
        print(draw(name))
