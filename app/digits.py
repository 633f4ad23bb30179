"""A glimpse of the input: the first images of the batch, as the network gets them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from app import theme
from app.i18n import t
from gradcore.errors import UnsupportedError

MOST = 16
SIDE = 8  # pixels of one image, and images in one row
GAP = 1  # pixels between two images


def mosaic(images: np.ndarray, enlarge: int) -> np.ndarray:
    """(height, width, 4) bytes, red-green-blue-opacity: images (count, 64) in rows of eight on a transparent ground.

    Each image is bright on black, its brightest pixel white, every pixel a square of ``enlarge`` x ``enlarge``:
    it looks the same on both themes, and no browser blurs it.
    """
    rows = -(-len(images) // SIDE)
    pitch = SIDE + GAP
    canvas = np.zeros((rows * pitch - GAP, SIDE * pitch - GAP, 4), dtype=np.uint8)
    for k, image in enumerate(images):
        row, column = divmod(k, SIDE)
        tile = canvas[row * pitch : row * pitch + SIDE, column * pitch : column * pitch + SIDE]
        tile[..., :3] = np.rint(255.0 * image.reshape(SIDE, SIDE, 1) / image.max())
        tile[..., 3] = 255
    return canvas.repeat(enlarge, axis=0).repeat(enlarge, axis=1)


def glimpse(batch_size: int) -> None:
    """Show the first images of a batch of digits; nothing where they are not installed (the page says so)."""
    from gradcore.theory.inputs import digits_batch

    try:
        images = digits_batch(min(batch_size, MOST), 1.0)
    except UnsupportedError:
        return
    with st.container(width=theme.GLIMPSE_WIDTH):  # given to the picture itself, the width would shrink and blur it
        st.image(
            mosaic(images, theme.GLIMPSE_ENLARGE),
            width="stretch",
            output_format="PNG",
            alt=t("Handwritten digits, bright on black, {count} of them.", count=len(images)),
            caption=t("the first {count} of the batch's images, 8×8 pixels, scikit-learn digits", count=len(images)),
        )
