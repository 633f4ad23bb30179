"""Files of images and labels, from their bytes: IDX, npz and CSV, each plain or gzipped. Nothing in them is executed.

IDX (LeCun, Cortes & Burges, the MNIST database): two zero bytes, a type code, the number of dimensions, one big-endian
32-bit size per dimension, then the entries in C order.
"""

from __future__ import annotations

import gzip
import io
import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradcore.errors import GradcoreError

Array = np.ndarray
MOST_BYTES = 2**28  # of a file once unpacked: MNIST's 60 000 images are 47 MB, as CSV 110 MB
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
IMAGE_NAMES = ("x_train", "images", "x", "X", "data", "train_images")  # arrays of an npz, the first that is there
LABEL_NAMES = ("y_train", "labels", "y", "Y", "target", "train_labels")
FORMATS = "IDX (plain or .gz), .npz or CSV"
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"


class DataError(GradcoreError, ValueError):
    """A file that cannot be used: ``file`` its name, ``found`` what it holds, ``allowed`` what is legal, ``hint``."""

    def __init__(self, file: str, found: str, allowed: str, hint: str = "") -> None:
        sentence = f"{file}: {found}; allowed: {allowed}." + (f" {hint}" if hint else "")
        super().__init__("data_error", sentence, file=file, found=found, allowed=allowed, hint=hint)
        self.file, self.found, self.allowed, self.hint = file, found, allowed, hint


@dataclass(frozen=True, eq=False)
class Table:
    """What a file holds: ``images`` (N, ...) and ``labels`` (N,), either None."""

    images: Array | None
    labels: Array | None


def read_table(name: str, content: bytes) -> Table:
    """The arrays of one file, its kind read off its first bytes. Raises DataError."""
    if not content:
        raise DataError(name, "an empty file", FORMATS)
    if content[:2] == GZIP:
        content = _unpacked(name, content)
    if len(content) > MOST_BYTES:
        raise DataError(name, f"{len(content):,} bytes", f"at most {MOST_BYTES:,} bytes")
    return _reader(content)(name, content)


def _reader(content: bytes) -> Callable[[str, bytes], Table]:
    if content[:4] == ZIP:
        return _npz
    return _idx if content[:2] == b"\0\0" else _csv


def _unpacked(name: str, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(name, f"a damaged gzip file ({error})", FORMATS, "Load it anew.") from None
    if not unpacked:
        raise DataError(name, "an empty file", FORMATS)
    return unpacked


def _idx(name: str, content: bytes) -> Table:
    known = ", ".join(f"0x{code:02x}" for code in IDX_TYPES)
    if len(content) < 4 or content[2] not in IDX_TYPES or not content[3]:
        raise DataError(name, f"the first bytes {content[:4].hex()}", f"IDX, whose third byte is a type: {known}")
    kind, dims = np.dtype(IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * dims
    if len(content) < start:
        raise DataError(name, f"{len(content)} bytes", f"an IDX header of {start} bytes for {dims} dimensions")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dims, 4))
    wanted, there = math.prod(shape) * kind.itemsize, len(content) - start
    if wanted != there:
        raise DataError(
            name,
            f"a header for {' x '.join(map(str, shape))} entries, that is {wanted:,} bytes, followed by {there:,}",
            "an IDX file as long as its header says",
            "It may have been cut off: load it anew.",
        )
    entries = np.frombuffer(content, kind, offset=start).reshape(shape)
    return Table(None, entries) if dims == 1 else Table(entries, None)


def _npz(name: str, content: bytes) -> Table:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > MOST_BYTES:
            raise DataError(name, f"{total:,} bytes unpacked", f"at most {MOST_BYTES:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            images = _named(arrays, IMAGE_NAMES)
            labels = _named(arrays, LABEL_NAMES)
            names = list(arrays)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
        raise DataError(name, f"a damaged npz file ({error})", FORMATS) from None
    except DataError:
        raise
    except (ValueError, SyntaxError) as error:
        raise DataError(name, f"an unreadable array ({error})", "arrays of numbers, not of Python objects") from None
    if images is None and labels is None:
        shown = ", ".join(names[:8]) or "nothing"
        wanted = f"one of {', '.join(IMAGE_NAMES)}, and one of {', '.join(LABEL_NAMES)}"
        raise DataError(name, f"the arrays {shown}", wanted)
    for array, least, what in ((images, 2, "images"), (labels, 1, "labels")):
        if array is not None and (array.ndim < least or array.dtype.kind not in "buif"):
            raise DataError(
                name, f"{what} of shape {array.shape} and type {array.dtype}", f"numbers, at least {least}-dimensional"
            )
    if labels is not None and labels.ndim > 1:
        labels = _from_hot(name, labels)
    return Table(images, labels)


def _named(arrays: np.lib.npyio.NpzFile, names: tuple[str, ...]) -> Array | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _from_hot(name: str, labels: Array) -> Array:
    """Class numbers of one-hot rows, or of one column."""
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] == 1:
        return flat[:, 0]
    if not np.array_equal(np.sort(flat, axis=1)[:, -2:], np.tile([0, 1], (len(flat), 1))) or np.any(flat < 0):
        raise DataError(name, f"labels of shape {labels.shape}", "one label per image, or one-hot rows of 0 and 1")
    return flat.argmax(axis=1)


def _csv(name: str, content: bytes) -> Table:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(name, f"the first bytes {content[:4].hex()}, no text", FORMATS) from None
    first, _, rest = text.lstrip().partition("\n")
    heads = [head.strip().strip('"').lower() for head in first.split(",")]
    if len(heads) < 2:
        raise DataError(name, f"the line {first[:40]!r}", "a CSV of a label and pixels, separated by commas")
    header = not all(_is_number(head) for head in heads)
    if header and heads.count("label") > 1:
        raise DataError(name, "two columns named label", "one column of labels")
    place = heads.index("label") if header and "label" in heads else 0
    rows = _rows(name, rest if header else text, len(heads), 2 if header else 1)
    return Table(np.delete(rows, place, axis=1), rows[:, place])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows(name: str, text: str, columns: int, line: int) -> Array:
    lines = [part for part in text.splitlines() if part.strip()]
    if not lines:
        raise DataError(name, "no line of numbers", "one line per image")
    try:
        rows = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        raise _bad_line(name, lines, columns, line) from None
    if rows.shape[1] != columns:
        raise DataError(name, f"{rows.shape[1]} columns below {columns} names", "as many columns as names")
    return rows


def _bad_line(name: str, lines: list[str], columns: int, line: int) -> DataError:
    """What is wrong with the first line that cannot be read."""
    for number, part in enumerate(lines, line):
        entries = part.split(",")
        if len(entries) != columns:
            return DataError(name, f"{len(entries)} columns in line {number}", f"{columns} columns, as in line 1")
        wrong = next((entry for entry in entries if not _is_number(entry)), None)
        if wrong is not None:
            return DataError(name, f"{wrong[:20]!r} in line {number}", "numbers alone")
    return DataError(name, "lines that cannot be read", "numbers separated by commas")
