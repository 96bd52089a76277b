"""The page of a real swarm in a real browser: its numbers are Prometheus', and it says so when a Pi stops."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from playwright.sync_api import Response, expect

from tests.browser import Visit, chromium, visit
from tests.commands import Lab, command
from tests.stack.shelf import Answer, at_one_address, fetched
from tests.stack.test_stack_on_the_lab import eventually, nodes_of

PIS = ("pi1", "pi2", "pi3")
# Over all: docker finds a node away after some seconds, Prometheus scrapes every 15, and so does the page.
PATIENCE = 180_000  # milliseconds


def get(lab: Lab, path: str) -> Answer:
    """How a browser's request gets into the lab; the only place here that knows the way."""
    service, port = ("prometheus", 9090) if path.startswith("/prometheus/") else ("web", 80)
    answers = (fetched(f"http://{lab.address(node)}:{port}", path) for node in nodes_of(lab, service))
    return next((answer for answer in answers if answer[0] < 500), (502, {}, b""))


def query(lab: Lab, text: str, at: float) -> dict[str, float]:
    """What Prometheus says of a moment: node -> value."""
    status, _, body = get(lab, f"/prometheus/api/v1/query?query={quote(text)}&time={at}")
    assert status == 200, body
    return {one["metric"]["node"]: float(one["value"][1]) for one in json.loads(body)["data"]["result"]}


@contextmanager
def page(lab: Lab) -> Iterator[Visit]:
    with at_one_address(lambda path: get(lab, path)) as url, chromium() as browser, visit(browser, url) as seen:
        seen.page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield seen


def cells(seen: Visit, column: str) -> dict[str, str]:
    """Pi -> what stands in a column."""
    rows = seen.page.locator("#pis tbody tr")
    names, told = (rows.locator(selector).all_inner_texts() for selector in ("th > b", f"td.{column} .figure"))
    return dict(zip(names, (" ".join(text.split()) for text in told), strict=True))


def test_every_pi_is_there_with_the_numbers_that_prometheus_has(stack: Lab) -> None:
    eventually(lambda: set(PIS) <= query(stack, "node_load1", time.time()).keys())
    with page(stack) as seen:
        answers: list[Response] = []
        seen.page.on("response", lambda answer: answers.append(answer) if "/api/v1/query?" in answer.url else None)
        seen.page.reload()
        expect(seen.page.locator("#pis tbody tr.here")).to_have_count(3)
        seen.hide(True)  # it asks no more
        seen.page.wait_for_load_state("networkidle")
        shown = {column: cells(seen, column) for column in ("load", "memory")}
        (now,) = (one["value"] for one in answers[-1].json()["data"]["result"] if one["metric"].get("q") == "now")
        at = float(now[1])  # the moment of which the page tells
        load = query(stack, "last_over_time(node_load1[45s])", at)
        total = query(stack, "last_over_time(node_memory_MemTotal_bytes[45s])", at)
        free = query(stack, "last_over_time(node_memory_MemAvailable_bytes[45s])", at)
        cores = query(stack, 'count by (node) (node_cpu_seconds_total{mode="idle"})', at)
        assert set(load) == set(PIS)
        assert shown["load"] == {pi: f"{load[pi]:.2f} of {cores[pi]:.0f} cores" for pi in PIS}
        memory = {pi: int(re.match(r"\d+", text)[0]) for pi, text in shown["memory"].items()}  # type: ignore[index]
        assert memory == {pi: pytest.approx(100 * (1 - free[pi] / total[pi]), abs=0.51) for pi in PIS}
        assert (seen.complaints, len(seen.hosts)) == ([], 1)


def test_a_pi_that_stops_is_told_and_so_is_its_return(stack: Lab) -> None:
    eventually(lambda: set(PIS) <= query(stack, "node_load1", time.time()).keys())
    with page(stack) as seen:
        first = seen.page.locator("#verdict")
        expect(seen.page.locator("#pis tbody tr.here")).to_have_count(3)
        command("docker", "stop", f"{stack.name}-pi3").ok()
        try:
            expect(first).to_have_text(re.compile(r"^pi3 is gone since \d\d:\d\d$"))
            expect(seen.page.locator("#pis tbody tr.gone th b")).to_have_text("pi3")
        finally:
            command("docker", "start", f"{stack.name}-pi3").ok()
            eventually(lambda: "Ready" in stack.docker("node", "ls", "--filter", "name=pi3").said)
        expect(seen.page.locator("#pis tbody tr.here")).to_have_count(3)
        expect(first).not_to_have_text(re.compile("gone"))
    stack.image("deploy").ok()
