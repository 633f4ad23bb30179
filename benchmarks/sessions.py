"""``python -m benchmarks.sessions``: many visitors of one explorer at once, and one beside another's long measurement.

The real server runs in a process of its own; the visitors speak Streamlit's own protocol over loopback, as a browser
does (protobuf over /_stcore/stream), and draw nothing. Each opens a link to a network of its own, waits for prediction
and measurement, thinks for some seconds, and follows the next link. Every number that arrives is held to what gradcore
says of that visitor's own network: another's would differ. The visitors' own work runs on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradcore as gc
from benchmarks.pages import serving
from gradcore.charts import estimate_text
from gradcore.codec import to_query
from gradcore.estimates import estimates
from gradcore.words import LN10, number_text

NETWORKS, SEED = 4, 7
THINK = (2.0, 5.0)  # seconds between an answer and the next link
TURNS = 6  # links of one visitor; the first again after the last
PATIENCE = 300.0  # seconds for one answer
MEMORY = 2.5 * 2**30  # bytes that the server may take
FLAT = 0.05  # growth of its memory over the last half of the run, as a share of its peak
RATIO = 2.0  # of a second tab's answers beside a first tab's measurement to those without
BESIDE = 12  # answers of the second tab, each way
DEAR = gc.Spec(depth=100, width=512, activation="tanh", init="trunc_normal", gain=2.0)  # some 10 s a network
DEAR_NETWORKS = 64
ACTIVATIONS = ("relu", "tanh", "erf", "sigmoid", "elu")


@dataclass(frozen=True)
class Visit:
    """One link and what its page must say: headline, the predicted numbers, the measured ones below them."""

    query: str
    headline: str
    predicted: tuple[str, ...]
    measured: tuple[str, ...]

    @classmethod
    def of(cls, spec: gc.Spec, seed: int = SEED) -> Visit:
        """Computed here, in another process than the server's."""
        profile, found = gc.predict(spec), gc.measure(spec, networks=NETWORKS, seed=seed)
        verdict, ours, theirs = gc.diagnose(profile), estimates(profile, "mean"), estimates(found, "mean")
        names = ("factor", "ratio", "signal")
        depths = [f"{each.usable_depth} of {spec.depth}" for each in (verdict, gc.diagnose(found))]
        signs = ("×", "×", "")
        logs = [getattr(ours, name).log / LN10 for name in names]
        return cls(
            urlencode({**to_query(spec), "networks": NETWORKS, "seed": seed}),
            verdict.sentence,
            (*(sign + number_text(log, 3) for sign, log in zip(signs, logs, strict=True)), depths[0]),
            tuple(f"measured {text}" for text in (*(estimate_text(getattr(theirs, n)) for n in names), depths[1])),
        )


def visits(sessions: int, turns: int) -> list[list[Visit]]:
    """So many links for each session; no two of all of them make the same page. Networks as visitors try them: their
    bands need no sampling, and they are measured unasked."""
    made: list[list[Visit]] = []
    for session in range(sessions):
        own = []
        for turn in range(turns):
            number = session * turns + turn
            spec = gc.Spec(
                depth=6 + number % 11,
                width=128 + 32 * (session % 3),
                activation=ACTIVATIONS[number % len(ACTIVATIONS)],
                gain=1.0 + 0.001 * number,
            )
            own.append(Visit.of(spec))
        made.append(own)
    texts = [(visit.predicted, visit.measured) for own in made for visit in own]
    assert len(set(texts)) == len(texts)
    return made


# --- one visitor ----------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What one run of the page sent: seconds to the numbers and to its end, and everything that is wrong with it."""

    numbers: float = float("nan")
    end: float = float("nan")
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


class Visitor:
    """One session: its websocket, and the ids of the widgets that its page has drawn."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: Any = None
        self.buttons: dict[str, str] = {}

    async def __aenter__(self) -> Visitor:
        from websockets.asyncio.client import connect

        stream = self._address.replace("http", "ws", 1) + "/_stcore/stream"
        as_browsers: dict[str, Any] = {"subprotocols": ["streamlit"], "origin": self._address, "ping_interval": None}
        self._socket = await connect(stream, max_size=None, **as_browsers)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._socket.close()

    async def send(self, query: str, pressed: str | None = None) -> None:
        """Ask for a run of the page at this link, as if this button had been pressed."""
        from streamlit.proto.BackMsg_pb2 import BackMsg

        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.context_info.locale = "en-US"
        message.rerun_script.context_info.url = f"{self._address}/"
        if pressed is not None:
            state = message.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self.buttons[pressed], True
        await self._socket.send(message.SerializeToString())

    async def follow(self, visit: Visit) -> Answer:
        """Open this link, and wait until its page is whole and measured."""
        began, answer = time.monotonic(), Answer()
        shown: dict[tuple[int, ...], tuple[str, str]] = {}
        said = []
        await self.send(visit.query)
        try:
            async with asyncio.timeout(PATIENCE):
                async for message in self.messages():
                    kind = message.WhichOneof("type")
                    if kind == "script_finished":
                        if message.script_finished != message.FINISHED_SUCCESSFULLY:
                            answer.errors.append(f"the run ended with status {message.script_finished}")
                        break
                    element = message.delta.new_element if kind == "delta" else None
                    if element is None:
                        continue
                    what = element.WhichOneof("type")
                    if what == "metric":
                        shown[tuple(message.metadata.delta_path)] = element.metric.body, element.metric.delta
                        if len(shown) == len(visit.predicted) and answer.numbers != answer.numbers:
                            answer.numbers = time.monotonic() - began
                    elif what == "heading" and element.heading.tag == "h3":
                        said.append(element.heading.body)
                    elif what == "exception":
                        answer.errors.append(f"{element.exception.type}: {element.exception.message}")
        except Exception as error:  # a closed connection, or no answer in time
            answer.errors.append(repr(error))
            return answer
        answer.end = time.monotonic() - began
        found = [shown[path] for path in sorted(shown)]
        for name, mine, theirs in (
            ("headline", [visit.headline], said[:1]),
            ("predicted", list(visit.predicted), [body for body, _ in found]),
            ("measured", list(visit.measured), [delta for _, delta in found]),
        ):
            if mine != theirs:
                answer.wrong.append(f"{visit.query}: {name} {theirs}, not {mine}")
        return answer

    async def messages(self) -> AsyncIterator[Any]:
        """Everything that the server sends, as it comes; buttons are remembered by their own keys."""
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        async for data in self._socket:
            message = ForwardMsg.FromString(data)
            if message.WhichOneof("type") == "delta" and message.delta.new_element.WhichOneof("type") == "button":
                button = message.delta.new_element.button
                self.buttons[button.id.rsplit("-", 1)[-1]] = button.id
            yield message


# --- many at once ---------------------------------------------------------------------------------------------


def resident(process: int) -> float:
    """Bytes of memory that this process holds (Linux)."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) * 1024.0
    raise SystemExit("this system does not say how much memory a process holds")


@dataclass
class Crowd:
    """What many sessions met: all answers, and (seconds, bytes) of the server's memory once a second."""

    answers: list[Answer] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """All errors."""
        return [text for answer in self.answers for text in answer.errors]

    @property
    def wrong(self) -> list[str]:
        """All numbers and sentences that were not the session's own."""
        return [text for answer in self.answers for text in answer.wrong]

    @property
    def peak(self) -> float:
        """Most bytes."""
        return max(held for _, held in self.memory)

    @property
    def growth(self) -> float:
        """Bytes by which the memory grew over the last half: the least-squares line's rise."""
        last = self.memory[len(self.memory) // 2 :]
        times, held = [t for t, _ in last], [m for _, m in last]
        slope = statistics.linear_regression(times, held).slope if len(last) > 1 else 0.0
        return slope * (times[-1] - times[0])


async def crowd(address: str, process: int, plans: Sequence[Sequence[Visit]], seconds: float) -> Crowd:
    """All sessions at once for so long, on a server that has loaded torch for a first visitor; each follows its own
    links, the first again after the last."""
    out = Crowd()
    async with Visitor(address) as first:
        out.answers.append(await first.follow(plans[0][0]))
    began = time.monotonic()

    async def session(number: int, plan: Sequence[Visit]) -> None:
        think = random.Random(number)
        await asyncio.sleep(think.uniform(0.0, THINK[0]))
        async with Visitor(address) as visitor:
            turn = 0
            while time.monotonic() - began < seconds:
                out.answers.append(await visitor.follow(plan[turn % len(plan)]))
                turn += 1
                await asyncio.sleep(think.uniform(*THINK))

    async def watch() -> None:
        while True:
            out.memory.append((time.monotonic() - began, resident(process)))
            await asyncio.sleep(1.0)

    watching = asyncio.create_task(watch())
    ends = await asyncio.gather(*(session(n, plan) for n, plan in enumerate(plans)), return_exceptions=True)
    watching.cancel()
    out.answers += [Answer(errors=[repr(end)]) for end in ends if end is not None]
    return out


# --- one beside another ---------------------------------------------------------------------------------------


@dataclass
class Beside:
    """Answers of a second tab alone, and while a first one measures."""

    alone: list[Answer]
    beside: list[Answer]

    def ratio(self, name: str) -> float:
        """Of the medians of this time."""
        alone, beside = (statistics.median(getattr(a, name) for a in each) for each in (self.alone, self.beside))
        return beside / alone


async def second_tab(address: str, plan: Sequence[Visit]) -> Beside:
    """The same visitor's answers to one half of these links alone, to the other half beside a long measurement."""
    dear = urlencode({**to_query(DEAR), "networks": DEAR_NETWORKS})
    half = len(plan) // 2
    async with Visitor(address) as first, Visitor(address) as second:
        await second.follow(plan[0])  # so that everything is imported
        alone = [await second.follow(visit) for visit in plan[1:half]]
        await first.send(dear)
        async for message in first.messages():
            if message.WhichOneof("type") == "script_finished":
                break
        await first.send(dear, pressed="measure")
        ended = asyncio.create_task(_end_of(first))
        await asyncio.sleep(2.0)
        beside = [await second.follow(visit) for visit in plan[half + 1 :]]
        if ended.done():
            raise SystemExit("the first tab's measurement came to its end before the second tab was asked")
        ended.cancel()
    return Beside(alone, beside)


async def _end_of(visitor: Visitor) -> None:
    async for message in visitor.messages():
        if message.WhichOneof("type") == "script_finished":
            return


# --- report ---------------------------------------------------------------------------------------------------


def _times(answers: Sequence[Answer], name: str) -> str:
    """Median and 95% quantile."""
    times = sorted(value for each in answers if (value := getattr(each, name)) == value)
    if not times:
        return "none"
    return f"{statistics.median(times):.2f} s, 95% within {times[min(len(times) - 1, int(0.95 * len(times)))]:.2f} s"


def report_crowd(found: Crowd, sessions: int, seconds: float) -> Iterator[str]:
    """Print what many met; yields what missed its limit."""
    print(f"{sessions} sessions for {seconds:.0f} s: {len(found.answers)} pages, errors: {len(found.errors)}, ", end="")
    print(f"pages with a number or sentence that is not their own: {len(found.wrong)}")
    print(f"link to the predicted numbers: median {_times(found.answers, 'numbers')}")
    print(f"link to the measured ones, page at its end: median {_times(found.answers, 'end')}")
    half = found.memory[len(found.memory) // 2][1] / 2**20
    print(f"server's memory: peak {found.peak / 2**20:.0f} MiB, {half:.0f} MiB at half time, then ", end="")
    print(f"{found.growth / 2**20:+.0f} MiB over the last half")
    for text in (found.errors + found.wrong)[:5]:
        print(f"  {text}")
    yield from ["errors"] * bool(found.errors) + ["wrong numbers"] * bool(found.wrong)
    if found.peak > MEMORY:
        yield f"memory above {MEMORY / 2**30:g} GiB"
    if found.growth > FLAT * found.peak:
        yield f"memory that grows by more than {FLAT:.0%} over the last half"


def report_beside(found: Beside) -> Iterator[str]:
    """Print how a second tab fared; yields what missed its limit."""
    print("\na second tab, alone and beside a first one's long measurement")
    for name, title in (("numbers", "link to the predicted numbers"), ("end", "link to the measured ones")):
        print(f"{title}: {_times(found.alone, name)}; beside: {_times(found.beside, name)}; ", end="")
        print(f"ratio of the medians {found.ratio(name):.2f}")
        if found.ratio(name) > RATIO:
            yield f"{title} above {RATIO:g} times as long"
    if any(answer.errors or answer.wrong for answer in found.alone + found.beside):
        yield "errors or wrong numbers in the second tab"


def run(sessions: int, seconds: float, beside: int = BESIDE) -> tuple[Crowd, Beside]:
    """Both measurements, each on a fresh server."""
    plans = visits(sessions, TURNS)
    (pairs,) = visits(1, 2 * (beside + 1))
    with serving("app/main.py") as server:
        found = asyncio.run(second_tab(server.address, pairs))
    with serving("app/main.py") as server:
        return asyncio.run(crowd(server.address, server.process.pid, plans, seconds)), found


def main() -> int:
    """Both tables; exit status 1 where a limit was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, default=50, help="visitors at once (default 50)")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long (default 120)")
    asked = parser.parse_args()
    before = os.getloadavg()[0]
    many, two = run(asked.sessions, asked.seconds)
    print(f"{os.cpu_count()} cores, load {before:.1f} before, {os.getloadavg()[0]:.1f} after\n")
    missed = [*report_crowd(many, asked.sessions, asked.seconds), *report_beside(two)]
    for what in missed:
        print(f"MISSED: {what}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
