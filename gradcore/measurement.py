"""The empirical answer: statistics of real torch networks, one row per network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcore.errors import SpecError, UnsupportedError
from gradcore.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

    from gradcore.measure.plain import PlainRun

Array = np.ndarray
QUANTITIES = ("log_q", "log_p", "log_g", "log_dw", "log_db")
SHARES = ("correlation", "saturated", "dead")
# what measures the networks, by name of the sampler; loaded on first use, as it needs torch
SAMPLERS = {
    "dense": ("gradcore.measure.dense", "measure_networks"),
    "exact": ("gradcore.measure.exact", "measure_exact"),
}


@dataclass(frozen=True, eq=False)
class Measurement:
    """Statistics of measured networks. Arrays have shape (networks, L): natural logs of second moments over units
    and samples of one network, defined as in :class:`gradcore.Profile`; shares and correlation as numbers.

    inf or NaN marks a layer where the network's own dtype broke. ``networks`` are the indices measured.
    """

    spec: Spec
    seed: int
    dtype: str
    sampler: str
    networks: tuple[int, ...]
    log_q: Array
    log_p: Array
    log_g: Array
    log_dw: Array
    log_db: Array
    correlation: Array
    saturated: Array
    dead: Array

    def mean(self, name: str) -> Array:
        """(L,) ln of the mean over networks of the second moment ``name``, on finite networks."""
        logs = getattr(self, name)
        usable = np.where(np.isnan(logs) | np.isposinf(logs), -np.inf, logs)
        count = np.sum(~(np.isnan(logs) | np.isposinf(logs)), axis=0)
        top = usable.max(axis=0)
        safe = np.where(np.isneginf(top), 0.0, top)
        with np.errstate(divide="ignore", invalid="ignore"):
            return safe + np.log(np.exp(usable - safe).sum(axis=0) / count)

    def median(self, name: str) -> Array:
        """(L,) median over networks of the log."""
        return np.median(getattr(self, name), axis=0)

    def standard_error(self, name: str) -> Array:
        """(L,) standard error of ``mean(name)``, from the scatter between networks (delta method); nan for one."""
        logs = getattr(self, name)
        mean = self.mean(name)
        with np.errstate(invalid="ignore", over="ignore"):
            relative = np.exp(logs - np.where(np.isfinite(mean), mean, 0.0))
        n = logs.shape[0]
        return relative.std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else np.full(logs.shape[1], math.nan)

    @property
    def first_nonfinite(self) -> Array:
        """(networks,) first layer (1-based) whose pre-activations are not finite in this dtype; 0 where none."""
        broken = ~np.isfinite(self.log_q) & ~np.isneginf(self.log_q)
        return np.where(broken.any(axis=1), broken.argmax(axis=1) + 1, 0)

    @property
    def first_zero(self) -> Array:
        """(networks,) first layer (1-based) whose pre-activations are all zero in this dtype; 0 where none."""
        zero = np.isneginf(self.log_q)
        return np.where(zero.any(axis=1), zero.argmax(axis=1) + 1, 0)

    def plain(self, dtype: str) -> PlainRun:
        """What plain autograd in ``dtype`` (float64, float32, bfloat16, float16) shows on these same networks.

        Raises UnsupportedError where they were measured without weights (sampler "exact")."""
        if self.sampler != "dense":
            raise UnsupportedError(
                f'a plain run of networks measured by sampler "{self.sampler}"',
                "they have no weights to run again",
                'a measurement by sampler "dense"',
            )
        from gradcore.measure.plain import plain_run

        return plain_run(self.spec, self.networks, self.seed, dtype)

    def part(self, networks: Iterable[int]) -> Measurement:
        """The measurement of these of its networks, in the order given. Raises SpecError for one that is not here."""
        wanted = tuple(networks)
        if not wanted or not set(wanted) <= set(self.networks):
            raise SpecError("networks", wanted, f"at least one of {self.networks}")
        rows = [self.networks.index(network) for network in wanted]
        values = {name: getattr(self, name)[rows] for name in (*QUANTITIES, *SHARES)}
        return Measurement(self.spec, self.seed, self.dtype, self.sampler, wanted, **values)

    @staticmethod
    def merge(*parts: Measurement) -> Measurement:
        """The measurement of all networks of the parts: same spec, seed, dtype and sampler, no network twice."""
        if not parts:
            raise SpecError("parts", parts, "at least one Measurement")
        first = parts[0]
        for part in parts[1:]:
            for name in ("spec", "seed", "dtype", "sampler"):
                if getattr(part, name) != getattr(first, name):
                    raise SpecError(name, getattr(part, name), f"{getattr(first, name)!r}, as in the first part")
        indices = [i for part in parts for i in part.networks]
        if len(set(indices)) != len(indices):
            raise SpecError("networks", tuple(indices), "each network once over all parts")
        order = np.argsort(indices, kind="stable")
        names = (*QUANTITIES, *SHARES)
        rows = {name: np.concatenate([getattr(p, name) for p in parts])[order] for name in names}
        networks = tuple(int(indices[k]) for k in order)
        return Measurement(first.spec, first.seed, first.dtype, first.sampler, networks, **rows)

    def to_frame(self) -> pd.DataFrame:
        """Tidy pandas frame: network, layer, quantity, value."""
        import pandas as pd

        n, depth = self.log_q.shape
        network = np.repeat(self.networks, depth)
        layer = np.tile(np.arange(1, depth + 1), n)
        names = (*QUANTITIES, *SHARES)
        parts = [
            pd.DataFrame({"network": network, "layer": layer, "quantity": q, "value": getattr(self, q).ravel()})
            for q in names
        ]
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        return f"Measurement({len(self.networks)} networks, depth={self.spec.depth}, {self.sampler}, {self.dtype})"


def compute_at_most(computations: int) -> None:
    """So many networks (or groups of small ones) compute at once in this process, one thread each, over all callers;
    the rest wait, first come first served. Without this call: the machine's cores (a container's share of them is not
    seen). Loads torch; changes no number. Raises SpecError for less than 1."""
    if computations < 1:
        raise SpecError("computations", computations, "an integer, 1 or more")
    from gradcore.measure import turns

    turns.CORES = computations


def keep_free(cores: int) -> None:
    """From now on leave so many of the machine's cores to other work than measuring, 0 for none: large computations
    in progress stand back between their steps, and one always goes on. Loads torch; changes no number."""
    from gradcore.measure import turns

    turns.keep_free(cores)


def load_torch() -> None:
    """Load all that ``measure`` needs, so that a caller can do it ahead of time or beside other work.

    torch takes seconds to import and loads more in its first backward pass: a tiny network is measured for that.
    Raises ModuleNotFoundError where torch is not installed.
    """
    measure(Spec(depth=2, width=2, batch_size=2), networks=1)


def measure(
    spec: Spec,
    *,
    networks: int | Iterable[int] = 32,
    seed: int = 0,
    sampler: str = "dense",
    dtype: str = "float64",
    device: str = "cpu",
    progress: Callable[[int, int], Any] | None = None,
    on_layer: Callable[[int, int], Any] | None = None,
) -> Measurement:
    """Measure real torch networks of a Spec.

    ``networks`` is a number or a range of indices: network i depends on (spec, seed, i, dtype) only, so runs can be
    chunked, resumed and merged; its numbers are the same bits on any number of threads. ``dtype`` is the networks';
    statistics are float64 (of float32 networks, to about 1e-6). Gradients are rescaled at every layer, so 1e-120 is
    measured as such; ``Measurement.plain`` shows what ordinary autograd would. On another ``device`` ("cuda") the
    weights, inputs and cotangents are still drawn on the CPU: its numbers differ by the roundoff of its sums.

    ``sampler="exact"`` measures other networks of the same joint law without forming a weight matrix, in B^2 n
    operations a layer instead of B n^2 (source: ``gradcore.measure.conditioning``): for independent Gaussian weights
    (normal, lecun_normal, xavier_normal, kaiming_normal, kaiming_normal_fan_out), batches up to the smallest fan-in,
    float32 and float64. Its networks are not those of ``Spec.build``, its signals have no float range where the network
    is homogeneous (no bias, no norm), and ``Measurement.plain`` has nothing to run.

    ``progress(done, total)`` is called after each network, ``on_layer(done, total)`` within each network: as its layers
    are drawn, run forward, differentiated and run backward (total = 4 L; 2 L for "exact", which only runs forward and
    backward; a broken network may stop early), and at least every 0.1 s. Both are called in the caller's thread,
    network after network, also where several run at once. An exception from either cancels the run and passes through;
    neither changes a number.

    Weights are kept for the backward pass, or drawn twice where memory does not suffice for that. Raises SpecError,
    UnsupportedError (also where the run does not fit into the free memory, naming the GiB).
    """
    if not isinstance(spec, Spec):
        raise SpecError("spec", spec, "a gradcore.Spec", "Make one with gradcore.Spec(...).")
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        raise SpecError("sampler", sampler, "one of " + ", ".join(f'"{name}"' for name in SAMPLERS))
    from gradcore.measure.arguments import network_indices

    module, function = SAMPLERS[sampler]
    indices = network_indices(networks)
    rows = getattr(import_module(module), function)(spec, indices, seed, dtype, device, progress, on_layer)
    return Measurement(spec, seed, dtype, sampler, indices, **rows)
