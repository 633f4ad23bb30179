"""A record of one question: what was asked, predicted and measured, and with which versions. It loads back.

    record = Record.of(spec, gc.predict(spec), gc.measure(spec, networks=8))
    Path("network.json").write_text(record.to_json())
    again = Record.from_json(Path("network.json").read_bytes())     # again == record
    gc.compare(gc.predict(again.spec), again.measured)              # a Measurement like any other

Natural logarithms of second moments; numbers that JSON does not have (inf, -inf, nan) are the texts "inf", "-inf" and
"nan". Every field of the Spec is written out, so that a record means the same where a default has changed.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

import gradcore as gc
from gradcore import codec
from gradcore.cli_output import jsonable
from gradcore.errors import SpecError
from gradcore.export import reading
from gradcore.fields import FIELDS
from gradcore.measurement import QUANTITIES, SAMPLERS, SHARES, Measurement
from gradcore.profile import Profile
from gradcore.spec import Spec
from gradcore.theory.precision import RANGES
from gradcore.verdict import KINDS, Verdict, diagnose

Array = np.ndarray
FORMAT, FORMAT_VERSION = "gradcore.record", 1
LEVEL = 0.9  # of bands and spreads, as the charts draw them
NUMBERS = ("chi", "chi_parallel", *SHARES, "sigma_w")
DIGITS = 26  # characters of a number at most, with what is between two of them
UNITS = {
    "log_*": "natural logarithm of a second moment (mean square, not centred); RMS = exp(log / 2)",
    "chi, chi_parallel": "factor of the second moment per layer",
    "correlation": "cosine between the z of two samples",
    "saturated, dead": "share of units from 0 to 1",
    "sigma_w": "std(W) * sqrt(fan_in)",
    "verdict": "factor, ratio, signal: RMS; factor_mean_square: second moment; log10_ratio: of RMS",
    "layers": "entries are for layers 1 to L; measured: a row per network",
    "infinities": 'the texts "-inf" (an exact zero), "inf" and "nan"',
}


@dataclass(frozen=True, eq=False)
class Prediction:
    """A Profile's numbers at the time of the record; arrays (L,) by name.

    ``infinite_width``: log_* and the numbers chi ... sigma_w. ``mean``, ``median``, ``low`` and ``high``: log_* of one
    random network of this width, the last two the central ``level`` of networks (None where no band is known);
    ``band_source`` is where they come from ("exact", "expansion", "sampler" or None), as in :class:`Profile`.
    """

    infinite_width: Mapping[str, Array]
    mean: Mapping[str, Array]
    median: Mapping[str, Array]
    low: Mapping[str, Array] | None
    high: Mapping[str, Array] | None
    level: float
    band_source: str | None
    gain_origin: str
    notes: tuple[str, ...]

    @classmethod
    def of(cls, profile: Profile, level: float = LEVEL) -> Prediction:
        """What the profile holds now: a sample is not drawn for it, and is taken where it was."""
        law = profile.at_hand
        bands = {name: law.band(name, level) for name in QUANTITIES}
        known = {name: band for name, band in bands.items() if band is not None}
        whole = len(known) == len(bands)
        return cls(
            {name: getattr(profile, name) for name in (*QUANTITIES, *NUMBERS)},
            {name: law.mean(name) for name in QUANTITIES},
            {name: law.median(name) for name in QUANTITIES},
            {name: band[0] for name, band in known.items()} if whole else None,
            {name: band[1] for name, band in known.items()} if whole else None,
            level,
            law.source,
            profile.gain_origin,
            tuple(str(note) for note in profile.notes),
        )


@dataclass(frozen=True, eq=False)
class Found:
    """A Verdict's ``kind``, its English ``sentence`` and its ``numbers`` (RMS factors and ratios, layers)."""

    kind: str
    sentence: str
    numbers: Mapping[str, float | int | None]

    @classmethod
    def of(cls, verdict: Verdict) -> Found:
        """The same, kept."""
        return cls(verdict.kind, verdict.sentence, verdict.numbers)


@dataclass(frozen=True, eq=False)
class Record:
    """One question and its answers. ``seed``, ``dtype`` and ``sampler`` are those of the measurement, or of the one
    that was meant where there is none. ``verdict`` is on the prediction, ``measured_verdict`` on the networks.

    Records are equal where all that they hold is, nan counting as equal to nan.
    """

    spec: Spec
    predicted: Prediction | None
    measured: Measurement | None
    verdict: Found | None
    measured_verdict: Found | None
    seed: int
    dtype: str
    sampler: str
    versions: Mapping[str, str]

    @classmethod
    def of(
        cls,
        spec: Spec,
        profile: Profile | None = None,
        measured: Measurement | None = None,
        *,
        seed: int = 0,
        dtype: str = "float64",
        sampler: str = "dense",
        level: float = LEVEL,
    ) -> Record:
        """The record of this Spec. ``profile`` is None where theory has no answer, ``measured`` where no network was
        measured; then ``seed``, ``dtype`` and ``sampler`` say what was meant. Raises SpecError where the answers are
        not this Spec's."""
        for name, answer in (("profile", profile), ("measured", measured)):
            if answer is not None and answer.spec != spec:
                raise SpecError(name, answer.spec, "an answer to the same Spec")
        if measured is not None:
            seed, dtype, sampler = measured.seed, measured.dtype, measured.sampler
        return cls(
            spec,
            None if profile is None else Prediction.of(profile, level),
            measured,
            None if profile is None else Found.of(diagnose(profile)),
            None if measured is None else Found.of(diagnose(measured)),
            seed,
            dtype,
            sampler,
            versions(),
        )

    def document(self) -> dict[str, Any]:
        """The record as JSON knows it."""
        spec = {name: getattr(self.spec, name) for name in FIELDS}
        about = {"format": FORMAT, "format_version": FORMAT_VERSION, "versions": self.versions, "units": UNITS}
        parts = {
            "spec": spec,
            "seed": self.seed,
            "dtype": self.dtype,
            "sampler": self.sampler,
            "verdict": self.verdict and vars(self.verdict),
            "measured_verdict": self.measured_verdict and vars(self.measured_verdict),
            "predicted": self.predicted and vars(self.predicted),
            "measured": self.measured and _measured_part(self.measured),
        }
        return jsonable({**about, **parts})

    def to_json(self) -> str:
        """The record as JSON text. Raises SpecError where it would be larger than ``from_json`` reads."""
        text = json.dumps(self.document(), allow_nan=False)
        if len(text) > reading.MOST_BYTES:
            raise SpecError(
                "record", f"{len(text):,} bytes", f"at most {reading.MOST_BYTES:,} bytes", "Measure fewer networks."
            )
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """The record of a JSON text from ``to_json``. Raises SpecError naming what is wrong and what is allowed."""
        part = reading.Part("record", reading.parsed(text))
        if part.given("format") != FORMAT:
            raise SpecError("record: format", part.given("format"), f'"{FORMAT}", as Record.to_json makes')
        if part.given("format_version") != FORMAT_VERSION:
            allowed = f"{FORMAT_VERSION}, the only version there is"
            raise SpecError("record: format_version", part.given("format_version"), allowed)
        spec = codec.from_json(part.inner("spec").values)
        seed = part.whole("seed")
        dtype, sampler = part.one_of("dtype", RANGES), part.one_of("sampler", SAMPLERS)
        return cls(
            spec,
            _prediction(part.inner("predicted"), spec.depth) if part.given("predicted") is not None else None,
            _measurement(part, spec, seed, dtype, sampler) if part.given("measured") is not None else None,
            _found(part.inner("verdict")) if part.given("verdict") is not None else None,
            _found(part.inner("measured_verdict")) if part.given("measured_verdict") is not None else None,
            seed,
            dtype,
            sampler,
            {name: part.inner("versions").text(name) for name in part.inner("versions").values},
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.document() == other.document()

    __hash__ = None  # type: ignore[assignment]  # holds arrays


def fits(depth: int, networks: int) -> bool:
    """Whether a record of so many layers and networks is surely small enough to be written and read back."""
    of_prediction = 5 * len(QUANTITIES) + len(NUMBERS)
    return DIGITS * depth * (of_prediction + networks * len((*QUANTITIES, *SHARES))) + 2**16 < reading.MOST_BYTES


def versions() -> dict[str, str]:
    """What the numbers were made with; "none" for what is not installed."""
    found = {"gradcore": gc.__version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def _measured_part(measured: Measurement) -> dict[str, Any]:
    return {"networks": measured.networks, **{name: getattr(measured, name) for name in (*QUANTITIES, *SHARES)}}


# --- reading it back -----------------------------------------------------------------------------------------


def _prediction(part: reading.Part, depth: int) -> Prediction:
    def logs(inner: reading.Part) -> dict[str, Array]:
        return {name: inner.row(name, depth, below_infinity=True) for name in QUANTITIES}

    whole = part.inner("infinite_width")
    known = part.given("low") is not None
    level = part.real("level")
    if not 0.0 < level < 1.0:
        raise SpecError(f"{part.name}: level", level, "a number between 0 and 1")
    source = part.given("band_source")
    return Prediction(
        {**logs(whole), **{name: whole.row(name, depth) for name in NUMBERS}},
        logs(part.inner("mean")),
        logs(part.inner("median")),
        logs(part.inner("low")) if known else None,
        logs(part.inner("high")) if known else None,
        level,
        None if source is None else part.one_of("band_source", ("exact", "expansion", "sampler")),
        part.text("gain_origin"),
        tuple(part.texts("notes")),
    )


def _measurement(part: reading.Part, spec: Spec, seed: int, dtype: str, sampler: str) -> Measurement:
    inner = part.inner("measured")
    networks = inner.indices("networks")
    rows = {name: inner.rows(name, (len(networks), spec.depth)) for name in (*QUANTITIES, *SHARES)}
    return Measurement(spec, seed, dtype, sampler, networks, **rows)


def _found(part: reading.Part) -> Found:
    numbers = part.inner("numbers")
    return Found(
        part.one_of("kind", KINDS),
        part.text("sentence"),
        {name: numbers.number_or_none(name) for name in numbers.values},
    )
