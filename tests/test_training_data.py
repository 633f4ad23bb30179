"""The user's own images: IDX, npz and CSV, good ones read as they are, bad ones refused by name."""

from __future__ import annotations

import gzip
import io
import pickle
import struct

import numpy as np
import pytest

from gradcore.experiments.data import DataError, digits, read_images

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 4, 3), dtype=np.uint8)
LABELS = np.array([3, 0, 1, 2, 0, 3], dtype=np.uint8)


def idx(array: np.ndarray, code: int = 0x08) -> bytes:
    """LeCun's format, written out by hand."""
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype({0x08: ">u1", 0x0C: ">i4", 0x0D: ">f4"}[code]).tobytes()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def csv(head: str = "label," + ",".join(f"pixel{k}" for k in range(12)) + "\n") -> bytes:
    rows = [f"{label}," + ",".join(map(str, image.ravel())) for label, image in zip(LABELS, IMAGES, strict=True)]
    return (head + "\n".join(rows) + "\n").encode()


GOOD = {
    "idx": (idx(IMAGES), idx(LABELS)),
    "idx.gz": (gzip.compress(idx(IMAGES)), gzip.compress(idx(LABELS))),
    "idx of integers": (idx(IMAGES, 0x0C), idx(LABELS, 0x0C)),
    "keras npz": (npz(x_train=IMAGES, y_train=LABELS), None),
    "npz of one-hot labels": (npz(images=IMAGES.reshape(6, 12), labels=np.eye(4)[LABELS]), None),
    "npz and idx": (npz(data=IMAGES), idx(LABELS)),
    "csv": (csv(), None),
    "csv without a header": (csv(""), None),
    "csv.gz": (gzip.compress(csv()), None),
    "csv, carriage returns and a mark": (b"\xef\xbb\xbf" + csv().replace(b"\n", b"\r\n"), None),
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_files(kind):
    images, labels = GOOD[kind]
    data = read_images(kind, images, labels)
    assert np.array_equal(data.inputs, IMAGES.reshape(6, 12) / 255.0)
    assert np.array_equal(data.labels, LABELS) and data.classes == 4
    assert np.array_equal(data.targets.argmax(axis=1), LABELS) and data.targets.sum() == 6


def test_the_label_may_stand_in_another_column_and_pixels_in_the_unit_interval():
    data = read_images("own.csv", b"a,label,b\n0.5,1,1\n0,0,0.25\n")
    assert data.inputs.tolist() == [[0.5, 1.0], [0.0, 0.25]] and data.labels.tolist() == [1, 0]


def test_only_the_first_items_are_kept_but_all_classes():
    data = read_images("x", *GOOD["idx"], items=2)
    assert data.items == 2 and data.classes == 4
    assert read_images("x", *GOOD["idx"], items=None).items == 6


class _Evil:
    def __reduce__(self):
        return (pytest.fail, ("a file was unpickled",))


BAD = {
    "empty": (b"", None, "an empty file"),
    "cut off": (idx(IMAGES)[:-5], idx(LABELS), "72 bytes, followed by 67"),
    "header alone": (idx(IMAGES)[:6], idx(LABELS), "an IDX header of 16 bytes"),
    "huge header": (struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4), idx(LABELS), "as long as its header says"),
    "unknown type": (b"\0\0\x07\x01" + bytes(8), None, "third byte is a type"),
    "swapped": (idx(LABELS), idx(IMAGES), "labels alone"),
    "images twice": (idx(IMAGES), idx(IMAGES), "one label per image"),
    "no labels": (idx(IMAGES), None, "images without labels"),
    "fewer labels": (idx(IMAGES), idx(LABELS[:4]), "6 images and 4 labels"),
    "no items": (idx(IMAGES[:0]), idx(LABELS[:0]), "no images"),
    "damaged gzip": (gzip.compress(idx(IMAGES))[:-9], idx(LABELS), "damaged gzip"),
    "damaged npz": (npz(x=IMAGES, y=LABELS)[:60], None, "damaged npz"),
    "other arrays": (npz(weights=IMAGES), None, "the arrays weights"),
    "objects": (npz(x=IMAGES, y=np.array([_Evil()] * 6, dtype=object)), None, "not of Python objects"),
    "text arrays": (npz(x=IMAGES.astype(str), y=LABELS), None, "numbers, at least 2-dimensional"),
    "flat images": (npz(x=IMAGES.ravel(), y=LABELS), None, "at least 2-dimensional"),
    "soft labels": (npz(x=IMAGES, y=np.full((6, 4), 0.25)), None, "one-hot rows"),
    "short line": (csv() + b"1,2,3\n", None, "3 columns in line 8"),
    "word in a line": (csv() + b"1," + b",".join([b"x"] * 12) + b"\n", None, "'x' in line 8"),
    "not a number": (csv() + b"1," + b",".join([b"nan"] * 12) + b"\n", None, "not numbers"),
    "negative": (csv() + b"1," + b",".join([b"-1"] * 12) + b"\n", None, "from -1 to 248"),
    "broken label": (csv() + b"1.5," + b",".join([b"1"] * 12) + b"\n", None, "not whole numbers"),
    "large label": (csv() + b"1000," + b",".join([b"1"] * 12) + b"\n", None, "labels from 0 to 999"),
    "one class": (b"0,1,2\n0,3,4\n", None, "one class alone"),
    "a header alone": (csv().split(b"\n")[0] + b"\n", None, "no line of numbers"),
    "prose": (b"hello world\n", None, "a CSV"),
    "a picture": (b"\x89PNG\r\n\x1a\n\xff\xfe", None, "no text"),
    "a pickle": (pickle.dumps(_Evil()), None, "no text"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_refused_by_name(kind):
    images, labels, found = BAD[kind]
    with pytest.raises(DataError) as error:
        read_images("mine", images, labels, labels_name="marks")
    assert found in str(error.value)
    assert error.value.file in ("mine", "marks") and error.value.allowed


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr("gradcore.experiments.data_files.MOST_BYTES", 10_000)
    zeros = np.zeros((100, 200), dtype=np.uint8)
    for content in (gzip.compress(idx(zeros)), npz(x=zeros, y=np.zeros(100)), csv() * 100):
        with pytest.raises(DataError, match="at most 10,000 bytes"):
            read_images("mine", content)


def test_the_bundled_digits():
    data = digits()
    assert (data.items, data.pixels, data.classes) == (1000, 64, 10)
    assert data.inputs.min() == 0.0 and data.inputs.max() == 1.0
    sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    assert np.array_equal(data.inputs * 16, sklearn.data[:1000])
    assert np.array_equal(data.labels, sklearn.target[:1000])
    assert data.digest == digits(1797).first(1000).digest != digits(999).digest


def test_shared_data_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        digits().inputs[0, 0] = 1.0
