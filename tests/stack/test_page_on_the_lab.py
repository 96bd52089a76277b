"""The page of a real swarm, through its gateway, in a real browser: its numbers are Prometheus', and it says so when
a Pi stops.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Response, expect

from tests.browser import Visit, chromium, visit
from tests.commands import Lab, command, until

PIS = {"pi1", "pi2", "pi3"}
# Docker finds a node away after some seconds, Prometheus scrapes every 15, and so does the page; and a machine with
# other labs is slow.
PATIENCE = 180


def gateway(lab: Lab) -> str:
    """One of the addresses where a person would look."""
    return f"https://{lab.address('pi1')}"


@contextmanager
def page(lab: Lab) -> Iterator[Visit]:
    """The page, opened with the client certificate that provisioning left to the owner of the cluster."""
    certificate = {
        "origin": gateway(lab),
        "certPath": str(lab.folder / "cert.pem"),
        "keyPath": str(lab.folder / "key.pem"),
    }
    # The browser does not know the cluster's CA; `query` and the gateway's own tests check the certificate.
    entry = {"client_certificates": [certificate], "ignore_https_errors": True}
    with chromium() as browser, visit(browser, f"{gateway(lab)}/", **entry) as seen:
        seen.page.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=PATIENCE * 1000)
        yield seen


def query(lab: Lab, text: str, at: float | None = None) -> dict[str, float]:
    """What Prometheus says: node -> value."""
    return {one["metric"]["node"]: float(one["value"][1]) for one in lab.query(text, at)}


def measured(lab: Lab) -> None:
    """Wait until Prometheus measures each Pi, and each by one exporter: one that was replaced is remembered a while."""
    exporters = "count by (node) (last_over_time(node_load1[45s]))"
    until(lambda: query(lab, exporters) == dict.fromkeys(PIS, 1), PATIENCE)


def cells(seen: Visit, column: str) -> dict[str, str]:
    """Pi -> what stands in a column."""
    rows = seen.page.locator("#pis tbody tr")
    names, told = (rows.locator(selector).all_inner_texts() for selector in ("th > b", f"td.{column} .figure"))
    return dict(zip(names, (" ".join(text.split()) for text in told), strict=True))


def test_every_pi_is_there_with_the_numbers_that_prometheus_has(stack: Lab) -> None:
    measured(stack)
    with page(stack) as seen:
        answers: list[Response] = []
        seen.page.on("response", lambda answer: answers.append(answer) if "/api/v1/query?" in answer.url else None)
        seen.page.reload()
        expect(seen.page.locator("#pis tbody tr.here")).to_have_count(3)
        seen.hide(True)  # it asks no more
        seen.page.wait_for_function("() => !asking")
        shown = {column: cells(seen, column) for column in ("load", "memory")}
        (now,) = (one["value"] for one in answers[-1].json()["data"]["result"] if one["metric"].get("q") == "now")
        at = float(now[1])  # the moment of which the page tells
        load = query(stack, "last_over_time(node_load1[45s])", at)
        total = query(stack, "last_over_time(node_memory_MemTotal_bytes[45s])", at)
        free = query(stack, "last_over_time(node_memory_MemAvailable_bytes[45s])", at)
        cores = query(stack, 'count by (node) (last_over_time(node_cpu_seconds_total{mode="idle"}[45s]))', at)
        assert set(load) == PIS
        assert shown["load"] == {pi: f"{load[pi]:.2f} of {cores[pi]:.0f} cores" for pi in PIS}
        memory = {pi: int(text.partition(" %")[0]) for pi, text in shown["memory"].items()}
        assert memory == {pi: pytest.approx(100 * (1 - free[pi] / total[pi]), abs=0.51) for pi in PIS}
        assert seen.complaints == []
        assert len(seen.hosts) == 1


def test_a_pi_that_stops_is_told_and_so_is_its_return(stack: Lab) -> None:
    measured(stack)
    with page(stack) as seen:
        first = seen.page.locator("#verdict")
        expect(seen.page.locator("#pis tbody tr.here")).to_have_count(3)
        command("docker", "stop", f"{stack.name}-pi3").ok()
        try:
            expect(first).to_have_text(re.compile(r"^pi3 is gone since \d\d:\d\d$"))
            expect(seen.page.locator("#pis tbody tr.gone th b")).to_have_text("pi3")
        finally:
            command("docker", "start", f"{stack.name}-pi3").ok()
            until(lambda: "Ready" in stack.docker("node", "ls", "--filter", "name=pi3").said, PATIENCE)
        expect(seen.page.locator("#pis tbody tr.here")).to_have_count(3)
        expect(first).not_to_have_text(re.compile("gone"))
    # The swarm leaves what moved where it is; other tests find it on both workers again.
    stack.docker("service", "update", "--force", "--detach=false", "--quiet", "shelf_web").ok()
    stack.image("deploy").ok()
