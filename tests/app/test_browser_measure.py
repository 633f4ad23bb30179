"""Measuring in a real browser: cancelled at once, stopped by a changed control and a closed tab, resumed."""

from __future__ import annotations

import re
import statistics

import pytest

from tests.app.browser import Visit
from tests.app.measuring import CANCEL, OFFER, cancel_latency, cpu_share, seconds_until_quiet, server_pid, start

pytestmark = pytest.mark.browser
LONG = "?depth=100&width=512&activation=tanh&init=trunc_normal&gain=2&networks=12"  # 10 s a network: matrices redrawn
SHORT = "?depth=60&width=512&networks=40"  # 0.3 to 0.5 s a network
DONE = re.compile(r"Measured (\d+) of \d+ networks")


def networks_done(page) -> int:
    """What the progress bar says."""
    bar = page.get_by_text(DONE).first
    return int(DONE.search(bar.inner_text()).group(1))


def wait_until_done(page, networks: int) -> None:
    """Until at least so many networks are measured."""
    while networks_done(page) < networks:
        page.wait_for_timeout(50)


def test_cancelled_while_torch_is_imported(chromium, server: str) -> None:
    """The first test of this server: nothing has been measured yet."""
    with Visit(chromium, server, LONG + "&seed=1") as visit:
        visit.page.get_by_role("button", name=OFFER).first.click()
        visit.page.get_by_text("Starting torch").first.wait_for()
        assert cancel_latency(visit.page) <= 3.0  # while the import goes on beside it
        assert visit.complaints == []


def test_cancel_takes_effect_at_once(chromium, server: str) -> None:
    """Built for 0.5 s, which is the benchmark's to check: a busy machine gets twice as long."""
    pid = server_pid(server)
    with Visit(chromium, server, LONG + "&seed=2") as visit:
        latencies, pauses = [], []
        for attempt in range(5):
            start(visit.page)
            busy = cpu_share(pid, 0.5 + 0.15 * attempt)  # cancelled at various places within a network
            latencies.append(cancel_latency(visit.page))
            pauses.append(seconds_until_quiet(pid, busy))  # with drawing the page, which the latency is not
        print("cancel latencies, s:", [round(latency, 2) for latency in latencies])
        print("... until the server is quiet, s:", [round(pause, 1) for pause in pauses])
        assert statistics.median(latencies) <= 1.0, latencies
        assert max(latencies) <= 3.0, latencies
        assert max(pauses) <= 6.0, pauses  # what was asked would have taken two minutes more
        assert visit.page.get_by_role("button", name="Measure 12 networks").count() == 1  # and was not kept
        assert visit.complaints == []


def test_measuring_again_goes_on_from_what_was_done(chromium, server: str) -> None:
    with Visit(chromium, server, SHORT + "&seed=3") as visit:
        start(visit.page)
        wait_until_done(visit.page, 2)
        visit.page.get_by_role("button", name=CANCEL).click()
        offer = visit.page.get_by_role("button", name=re.compile(r"Continue \(\d+ of 40 done\)"))
        offer.wait_for()
        done = int(re.search(r"(\d+) of 40", offer.inner_text()).group(1))
        assert done >= 2
        with Visit(chromium, server, SHORT + "&seed=3") as second:  # another tab goes on from them too
            second.page.get_by_role("button", name=f"Continue ({done} of 40 done)").wait_for()
        start(visit.page)
        assert networks_done(visit.page) >= done
        cancel_latency(visit.page)


def test_a_changed_control_stops_a_stale_measurement(chromium, server: str) -> None:
    pid = server_pid(server)
    with Visit(chromium, server, LONG + "&seed=4") as visit:
        start(visit.page)
        busy = cpu_share(pid, 1.5)
        visit.page.get_by_role("combobox", name="Activation").click()
        visit.page.get_by_role("option", name="erf", exact=True).click()
        visit.page.get_by_role("button", name="Measure 12 networks").wait_for()
        visit.page.wait_for_url("**activation=erf**")
        # Neither the old question is measured nor the new one, each of which takes two minutes; the page is drawn.
        assert seconds_until_quiet(pid, busy, lasting=2.0) <= 12.0
        assert visit.page.get_by_role("button", name=CANCEL).count() == 0


def test_closing_the_tab_stops_the_work(chromium, server: str) -> None:
    pid = server_pid(server)
    with Visit(chromium, server, LONG + "&seed=5") as visit:
        start(visit.page)
        busy = cpu_share(pid, 1.5)
        visit.page.close()
        pause = seconds_until_quiet(pid, busy, lasting=2.0)
        print(f"quiet for two seconds {pause:.1f} s after the tab was closed")
        assert pause <= 6.0
