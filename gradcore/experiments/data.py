"""Labelled images to train on: scikit-learn's bundled digits, or the user's own files (MNIST as IDX, npz or CSV).

data = digits()                                                    # the first 1000, pixels / 16
data = read_images("train-images.gz", images, labels=labels)       # bytes of the files
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from gradcore.experiments.data_files import DataError, Table, read_table
from gradcore.theory.inputs import digits_table

Array = np.ndarray
DIGITS_WHITE = 16.0  # the largest pixel of scikit-learn's digits
BYTE_WHITE = 255.0
MOST_CLASSES = 1000
DEFAULT_ITEMS = 1000


@dataclass(frozen=True, eq=False)
class Dataset:
    """``inputs`` (N, n_0) float64, ``labels`` (N,) int64 from 0 to ``classes`` - 1, ``name`` where they come from."""

    name: str
    inputs: Array
    labels: Array
    classes: int

    def __post_init__(self) -> None:
        for name in ("inputs", "labels"):  # views that nobody can write to: data sets are shared and cached
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @property
    def items(self) -> int:
        """N."""
        return len(self.labels)

    @property
    def pixels(self) -> int:
        """n_0."""
        return self.inputs.shape[1]

    @cached_property
    def targets(self) -> Array:
        """(N, classes) float64, one-hot."""
        return np.eye(self.classes)[self.labels]

    @cached_property
    def digest(self) -> str:
        """A fingerprint of inputs and labels, by which a reloaded run knows its data."""
        shape = repr((self.inputs.shape, self.classes)).encode()
        return hashlib.sha256(shape + self.inputs.tobytes() + self.labels.tobytes()).hexdigest()[:16]

    def first(self, items: int) -> Dataset:
        """The first ``items`` of them (all where there are fewer)."""
        return Dataset(self.name, self.inputs[:items], self.labels[:items], self.classes)

    def part(self, indices: Array) -> Dataset:
        """These items of them."""
        return Dataset(self.name, self.inputs[indices], self.labels[indices], self.classes)


@lru_cache(maxsize=4)
def digits(items: int = DEFAULT_ITEMS) -> Dataset:
    """The first ``items`` (at most 1797) of scikit-learn's handwritten digits, 8 x 8 pixels divided by 16, 10 classes.

    Raises UnsupportedError where scikit-learn is not installed.
    """
    table = digits_table()[:items]
    return Dataset("digits", table[:, :-1] / DIGITS_WHITE, table[:, -1].astype(np.int64), 10)


def read_images(
    name: str,
    images: bytes,
    labels: bytes | None = None,
    *,
    labels_name: str = "labels",
    items: int | None = DEFAULT_ITEMS,
) -> Dataset:
    """The data set of a user's own files, parsed without pickle.

    ``images`` are the bytes of an IDX file (LeCun's MNIST; ``labels`` then holds the IDX labels), of an .npz with
    images and labels, or of a CSV whose label is the column "label" or else the first one; each also gzipped. Pixels
    are divided by 255 where the file holds whole numbers from 0 to 255, left alone where they lie in [0, 1].
    ``items``: only the first so many (None: all). Raises DataError naming the file, what it holds and what is allowed.
    """
    found = read_table(name, images)
    own = read_table(labels_name, labels) if labels is not None else None
    pixels, marks = _joined(name, found, labels_name, own)
    if not len(pixels):
        raise DataError(name, "no images", "at least one image")
    if len(pixels) != len(marks):
        raise DataError(
            name,
            f"{len(pixels):,} images and {len(marks):,} labels",
            "as many labels as images",
            "Are both files of one set?",
        )
    inputs = _scaled(name, pixels.reshape(len(pixels), -1)[:items])
    every = _checked_labels(labels_name if own is not None else name, marks)
    return Dataset(name, inputs, every[:items], int(every.max()) + 1)


def _joined(name: str, found: Table, labels_name: str, own: Table | None) -> tuple[Array, Array]:
    """Images and labels, from one file or from two."""
    if found.images is None:
        raise DataError(name, "labels alone", "a file of images", "Are the two files swapped?")
    if own is None:
        if found.labels is None:
            raise DataError(name, "images without labels", "labels too", "Give the file of labels beside it.")
        return found.images, found.labels
    marks = own.labels if own.labels is not None else own.images
    if marks is None or marks.ndim != 1:
        shape = None if marks is None else marks.shape
        raise DataError(labels_name, f"an array of shape {shape}", "one label per image", "Are the two files swapped?")
    return found.images, marks


def _scaled(name: str, pixels: Array) -> Array:
    x = np.ascontiguousarray(pixels, dtype=np.float64)
    if not x.shape[1]:
        raise DataError(name, "images without pixels", "at least one pixel")
    if not np.isfinite(x).all():
        raise DataError(name, "pixels that are not numbers", "finite pixels")
    low, high = float(x.min()), float(x.max())
    if low < 0.0 or high > BYTE_WHITE:
        raise DataError(name, f"pixels from {low:g} to {high:g}", "pixels from 0 to 255, or from 0 to 1")
    return x / BYTE_WHITE if high > 1.0 else x


def _checked_labels(name: str, labels: Array) -> Array:
    marks = np.asarray(labels, dtype=np.float64)
    if not (np.isfinite(marks).all() and np.array_equal(marks, np.floor(marks))):
        raise DataError(name, "labels that are not whole numbers", "whole numbers from 0 on")
    low, high = int(marks.min()), int(marks.max())
    if low < 0 or high >= MOST_CLASSES:
        raise DataError(name, f"labels from {low} to {high}", f"labels from 0 to {MOST_CLASSES - 1}")
    if high == 0:
        raise DataError(name, "one class alone", "labels of at least two classes")
    return marks.astype(np.int64)
