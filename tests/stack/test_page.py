"""The cluster's page in a real browser, over a real Prometheus and the real web server, in every state of a shelf."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.error import HTTPError

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route, expect

from tests.browser import DESK, NOON, PHONE, Visit, chromium, visit
from tests.commands import ROOT, no_proxy
from tests.stack.shelf import HOUR, LINKED, PI1, SERVICES, WATCHDOG, Pi, Shelf, Site, served

# One worker has them all: each state is served once.
pytestmark = pytest.mark.xdist_group("page")
WWW = ROOT / "Busybox" / "root" / "www"
BOTH = pytest.mark.parametrize("scheme", ["light", "dark"])
HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>"
LONG = "raspberrypi" * 5 + "abcdefgh"  # as long as a host's name may be, with no place to break it


def alert(name: str, expression: str, severity: str = "page", **annotations: str) -> dict[str, Any]:
    return {"alert": name, "expr": expression, "labels": {"severity": severity}, "annotations": annotations}


GONE = Shelf(
    services={**SERVICES, "shelf_web": (1, 2)},
    alerts=(
        WATCHDOG,
        alert("Hot", "max by (node) (node_thermal_zone_temp) > 57", "warning", summary="{{ $labels.node }} is hot"),
        alert("NodeGone", "swarm_member_ready == 0", summary="{{ $labels.member }} is gone", description="Look at it."),
    ),
).with_pi("pi3", ready=False, until=-1500)
POWER = Shelf(
    pis=(
        PI1,
        Pi("pi2", voltage=(1, 1)),
        Pi("pi3", voltage=(0, 1)),
        Pi("pi4", voltage=None, temperature=None, model=""),
        Pi("pi5", textfile_age=600),
    )
)
MANY = Shelf(
    pis=tuple(
        Pi(f"pi{number}", number / 5, number / 40, role="worker" if number > 3 else "manager")
        for number in range(1, 21)
    ),
    hours=1,
)
STATES = {
    "healthy": Shelf(),
    "gone": GONE,
    "power": POWER,
    "many": MANY,
    "old": Shelf(ends=-1800),
    "leaderless": Shelf(leaders=()).with_pi("pi1", until=-1500),
    "leaderless for two": Shelf(leaders=()).with_pi("pi1", until=-1500).with_pi("pi3", until=-3000),
    "leaderless, one let go": Shelf(leaders=()).with_pi("pi1", until=-1500).with_pi("pi3", until=-3000, excused=True),
    "left": Shelf().with_pi("pi3", member=False, until=-1500),
    "silent": Shelf().with_pi("pi3", until=-1500),
    "unready": Shelf(leaders=("pi1", "pi2")).with_pi("pi3", ready=False),
    "unmeasured": Shelf(pis=(Pi("pi1", until=-7 * HOUR),), hours=8, leaders=()),
    "single": Shelf(
        pis=(Pi("pi1", role="manager", card=1.28e11, bytes=3.88e9),),
        alerts=(WATCHDOG, alert("RebootRequired", "vector(1)", "info", summary="pi1 waits for a reboot")),
        hours=1,
    ),
    "no exporter": Shelf(leaders=()).with_pi("pi1", until=-1500, gateway=True),
    "replaced": Shelf(pis=(PI1, Pi("pi3"), Pi("pi3", model="the one before", member=False, until=-3000)), hours=1),
    "empty": Shelf().with_pi("pi3", availability="drain", until=-1500).with_pi("pi2", availability="pause"),
    "drained leader": Shelf(leaders=("pi2",))
    .with_pi("pi1", availability="drain", until=-1500)
    .with_pi("pi2", role="manager", leads=False),
    "drained": Shelf(alerts=()).with_pi("pi3", availability="drain").with_pi("pi2", reboot=1),
    "one alert": Shelf(alerts=(WATCHDOG, GONE.alerts[1], alert("Quiet", "vector(1)", "none"))),
    "long": Shelf(pis=(PI1, Pi(LONG, model=LONG)), services={f"shelf_{LONG}": (0, 1), **SERVICES}, hours=1),
    "hostile": Shelf(
        pis=(PI1, Pi(HOSTILE, model=HOSTILE, role=HOSTILE)),
        services={HOSTILE: (1, 1)},
        revisions=({"revision": HOSTILE, "state": HOSTILE, "by": HOSTILE, "source": HOSTILE, "at": "-60"},),
        alerts=(
            WATCHDOG,
            alert("Evil", "vector(1)", HOSTILE, summary=HOSTILE, description=HOSTILE, runbook="javascript:alert(3)"),
        ),
        hours=1,
    ),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Site]]:
    """The page of a shelf in a state; each state is served once."""
    with ExitStack() as stack:
        sites: dict[str, Site] = {}

        def of(state: str) -> Site:
            if state not in sites:
                cluster = HOSTILE if state == "hostile" else LONG if state == "long" else "attic"
                folder = tmp_path_factory.mktemp("shelf")
                there = served(STATES[state], folder, cluster=cluster, node="pi2", services=f"{LINKED} hello")
                sites[state] = stack.enter_context(there)
            return sites[state]

        yield of


@pytest.fixture
def look(browser: Browser, site: Callable[[str], Site]) -> Iterator[Callable[..., Visit]]:
    """Open the page of a shelf and wait until it knows; afterwards see that it made no trouble."""
    with ExitStack() as stack:
        visits: list[Visit] = []

        def at(state: str, **context: Any) -> Visit:
            visits.append(stack.enter_context(visit(browser, site(state).url, **context)))
            visits[-1].wait("html[class]")
            return visits[-1]

        yield at
        for seen in visits:
            assert seen.complaints == []
            assert seen.dialogs == []
            assert len(seen.hosts) == 1, seen.hosts


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, NOON).strftime("%H:%M")


def row(seen: Visit, name: str) -> dict[str, str]:
    """A Pi's row as it is read: column -> text."""
    element = seen.page.locator("#pis tbody tr").filter(
        has=seen.page.get_by_role("rowheader").get_by_text(name, exact=True)
    )
    heads = [text.casefold() for text in seen.page.locator("#pis thead th").all_inner_texts()]
    cells = [" ".join(text.split()) for text in element.locator("th, td").all_inner_texts()]
    return dict(zip(heads, cells, strict=True))


def entries(seen: Visit, section: str) -> list[str]:
    return [" ".join(text.split()) for text in seen.page.locator(f"#{section} li").all_inner_texts()]


# ---------------------------------------------------------------- all is well


def test_an_address_with_a_name_and_a_password_in_it_works_too(browser: Browser, site: Callable[[str], Site]) -> None:
    with visit(browser, site("healthy").url.replace("://", "://ann:secret@")) as seen:
        seen.wait("html.good #pis svg")


def test_a_healthy_shelf_says_so_in_one_sentence(look) -> None:
    seen = look("healthy")
    assert seen.text("h1") == "All is well on 3 Pis"
    assert "No alert fires." in seen.text("#fresh")
    assert seen.page.locator("#also").is_hidden()
    assert seen.page.locator("#alerts").is_hidden()
    assert seen.page.title() == "All is well on 3 Pis · attic"


def test_the_numbers_of_each_pi_are_those_of_prometheus(look, site) -> None:
    seen, ask = look("healthy"), site("healthy").query
    load, total, free = (
        ask(name) for name in ("node_load1", "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes")
    )
    temperature = ask("node_thermal_zone_temp")
    assert sorted(load) == ["pi1", "pi2", "pi3"]
    for name in load:
        shown = row(seen, name)
        assert shown["load"] == f"{load[name]:.2f} of 4 cores"
        assert shown["memory"].startswith(f"{100 * (1 - free[name] / total[name]):.0f} % of ")
        assert shown["temperature"] == f"{temperature[name]:.0f} °C"


def test_each_pi_has_its_model_role_power_disk_and_uptime(look) -> None:
    seen = look("healthy")
    assert row(seen, "pi1")["name"] == "pi1 manager, the leader Raspberry Pi 4 Model B Rev 1.4"
    shown = row(seen, "pi3")
    assert shown["name"] == "pi3 worker Raspberry Pi Zero 2 W Rev 1.0"
    assert shown["power"] == "good since boot"
    assert shown["disk"] == "63 % of 29 GB"  # of `/`, not of the boot partition
    assert shown["up for"] == "3 days"
    assert shown["memory"] == "54 % of 500 MB"


def test_what_is_large_is_written_as_on_its_box(look) -> None:
    shown = row(look("single"), "pi1")
    assert (shown["disk"], shown["memory"].partition(" of ")[2]) == ("22 % of 128 GB", "3.9 GB")


def test_the_plots_say_in_words_what_they_show(look, site) -> None:
    plot = look("healthy").page.locator("#pis tr", has_text="pi2").get_by_role("img").nth(2)
    said = re.fullmatch(
        r"Temperature over the last 6 hours: (\d+) °C to (\d+) °C", plot.get_attribute("aria-label") or ""
    )
    assert said
    for word, function in ((said[1], "min"), (said[2], "max")):
        (whole,) = site("healthy").query(f'{function}_over_time(node_thermal_zone_temp{{node="pi2"}}[6h])').values()
        # A line has a point every four minutes.
        assert abs(float(word) - whole) <= 2


def test_services_are_told_with_their_replicas_and_what_was_deployed_when(look) -> None:
    seen = look("healthy")
    assert entries(seen, "services") == [
        "alertmanager 1 of 1",
        "gateway 3 of 3",
        "node_exporter 3 of 3",
        "prometheus 1 of 1",
        "web 2 of 2",
    ]
    newest, failed, first = entries(seen, "deployed")
    assert re.fullmatch(r"\d\d:\d\d revision 3 went well by anna@laptop from cdcef4f-dirty|\d+ \w+, .*", newest)
    assert "revision 2 failed" in failed
    assert re.match(r"\d+ \w+,? ?\d*, \d\d:\d\d revision 1", first)  # of another day: with its date


def test_the_links_are_those_of_the_gateways_services(look) -> None:
    links = look("healthy").page.locator("nav a")
    assert [(link.inner_text(), link.get_attribute("href")) for link in links.all()] == [
        ("Prometheus", "/prometheus/"),
        ("Alertmanager", "/alertmanager/"),
        ("Grafana", "/grafana/"),
        ("Hello", "/hello/"),
    ]


def test_twenty_pis_stand_in_their_natural_order(look) -> None:
    seen = look("many")
    assert seen.text("h1") == "All is well on 20 Pis"
    assert seen.page.locator("#pis th.name > b").all_inner_texts() == [f"pi{number}" for number in range(1, 21)]


# ---------------------------------------------------------------- something is wrong


def test_a_node_that_is_gone_stays_in_sight_and_says_since_when(look, site) -> None:
    seen = look("gone")
    (last,) = site("gone").query('max_over_time(timestamp(node_load1{node="pi3"})[1h:1s])').values()
    assert seen.text("h1") in {f"pi3 is gone since {clock(last - late)}" for late in (0, 60)}  # to the minute
    shown = row(seen, "pi3")
    assert re.match(r"pi3 gone since \d\d:\d\d worker Raspberry Pi Zero 2 W", shown["name"])
    assert (shown["load"], shown["power"], shown["up for"]) == ("–", "–", "–")
    assert seen.page.locator("#pis tr.gone svg").count() == 3  # its past is still of use


def test_what_else_is_wrong_stands_below(look) -> None:
    seen = look("gone")
    assert seen.text("#also") == "web is short of replicas. 2 alerts fire."
    assert "web 1 of 2, 1 missing" in entries(seen, "services")


def test_alerts_say_how_grave_they_are_in_words_and_the_gravest_comes_first(look) -> None:
    grave, warning = entries(look("gone"), "alerts")
    assert re.fullmatch(r"Urgent, since \d\d:\d\d pi3 is gone Look at it\.", grave)
    assert re.fullmatch(r"Warning, since \d\d:\d\d pi2 is hot", warning)


def test_one_alert_is_the_sentence_on_top_and_the_watchdog_is_none(look) -> None:
    seen = look("one alert")
    assert seen.text("h1") == "1 alert fires: pi2 is hot"
    assert len(entries(seen, "alerts")) == 1


def test_without_the_watchdog_nobody_claims_that_all_is_well(look) -> None:
    seen = look("drained")
    assert seen.text("h1") == "3 Pis answer"
    assert seen.text("#also") == "Nobody says whether an alert should fire: the rules are not at work."
    assert "No alert fires" not in seen.text("#fresh")
    assert seen.page.locator("html.warn").count() == 1


def test_what_is_good_to_know_is_told_and_is_no_trouble(look) -> None:
    seen = look("single")
    assert seen.text("h1") == "All is well on 1 Pi"
    assert seen.text("#also") == "Good to know: pi1 waits for a reboot."
    assert re.fullmatch(r"Good to know, since \d\d:\d\d pi1 waits for a reboot", *entries(seen, "alerts"))
    assert "No alert fires." in seen.text("#fresh")


def test_a_node_that_is_ready_but_not_measured_is_not_called_gone(look) -> None:
    seen = look("silent")
    assert re.fullmatch(r"pi3 gives no measurements since \d\d:\d\d", seen.text("h1"))
    assert "no measurements since" in row(seen, "pi3")["name"]


def test_a_node_that_the_swarm_does_not_reach_keeps_its_measurements(look) -> None:
    seen = look("unready")
    assert seen.text("h1") == "pi3 is out of the swarm's reach"
    assert row(seen, "pi3")["load"] == "0.08 of 4 cores"


def test_no_service_is_there_twice_while_two_leaders_are_heard(look) -> None:
    told = entries(look("unready"), "services")
    assert len(told) == len(SERVICES) == len(set(told))


def test_a_node_that_left_the_swarm_is_no_trouble(look) -> None:
    seen = look("left")
    assert seen.text("h1") == "All is well on 2 Pis"
    assert "left the swarm, last seen" in row(seen, "pi3")["name"]


def test_drained_and_in_need_of_a_restart_are_told_beside_the_name(look) -> None:
    seen = look("drained")
    assert "drained: gets no work" in row(seen, "pi3")["name"]
    assert "wants a restart" in row(seen, "pi2")["name"]


def test_a_pi_that_is_drained_and_so_not_measured_is_no_trouble(look) -> None:
    seen = look("empty")
    assert seen.text("h1") == "All is well on 2 Pis"
    assert "drained: gets no work" in row(seen, "pi3")["name"]
    assert "paused: gets no new work" in row(seen, "pi2")["name"]


def test_a_manager_that_tells_for_a_drained_leader_is_not_called_the_leader(look) -> None:
    seen = look("drained leader")
    assert seen.text("h1") == "All is well on 2 Pis"
    assert row(seen, "pi2")["name"].startswith("pi2 manager Raspberry")


def test_a_pi_that_took_the_place_and_the_name_of_another_is_what_it_is(look) -> None:
    assert "Raspberry Pi 4 Model B" in row(look("replaced"), "pi3")["name"]


def test_a_pi_whose_gateway_answers_is_not_called_gone(look) -> None:
    seen = look("no exporter")
    assert re.fullmatch(r"pi1 gives no measurements since \d\d:\d\d", seen.text("h1"))
    assert seen.text("#also") == "Nobody says how the swarm is: no manager tells."


def test_what_goes_on_firing_though_it_is_over_is_over(look) -> None:
    def kept(route: Route) -> None:
        """As Prometheus says it of a rule with `keep_firing_for`."""
        said = route.fetch().json()
        for one in said["data"]["alerts"]:
            one["keepFiringSince"] = one["activeAt"]
        route.fulfill(json=said)

    seen = look("one alert")
    seen.page.route("**/api/v1/alerts*", kept)
    seen.page.reload()
    expect(seen.page.locator("#verdict")).to_have_text("All is well on 3 Pis")
    assert seen.page.locator("#alerts").is_hidden()


def test_power_is_too_low_now_or_was_or_nobody_knows(look) -> None:
    seen = look("power")
    assert seen.text("h1") == "pi2 gets too little power"
    assert row(seen, "pi1")["power"] == "good since boot"
    assert row(seen, "pi2")["power"] == "too low under-voltage now"
    assert row(seen, "pi3")["power"] == "good now was too low since boot"
    assert row(seen, "pi4")["power"] == "unknown no sensor says"


def test_what_no_sensor_says_is_unknown(look) -> None:
    shown = row(look("power"), "pi4")
    assert shown["temperature"] == "unknown"
    assert "model unknown" in shown["name"]


def test_what_the_daemon_on_a_node_said_long_ago_counts_for_nothing(look) -> None:
    assert row(look("power"), "pi5")["power"] == "unknown no sensor says"


def test_without_a_leader_nothing_is_claimed_of_the_swarm(look) -> None:
    seen = look("leaderless")
    assert re.fullmatch(r"pi1 is gone since \d\d:\d\d", seen.text("h1"))
    assert seen.text("#also") == "Nobody says how the swarm is: no manager tells."
    assert "Unknown: no manager says" in seen.text("#services")
    assert "Unknown: no manager says" in seen.text("#deployed")


def test_pis_that_went_at_different_times_have_each_its_own(look) -> None:
    seen = look("leaderless for two")
    assert seen.text("h1") == "pi1 and pi3 are gone"
    one, other = (re.match(rf"{name} gone since (\d\d:\d\d)", row(seen, name)["name"]) for name in ("pi1", "pi3"))
    assert one
    assert other
    assert one[1] != other[1]


def test_who_was_let_go_is_not_called_gone_when_the_only_manager_goes(look) -> None:
    seen = look("leaderless, one let go")
    assert re.fullmatch(r"pi1 is gone since \d\d:\d\d", seen.text("h1"))
    assert "drained or left, last seen" in row(seen, "pi3")["name"]


# ---------------------------------------------------------------- no data


def test_old_data_are_shown_and_called_old(look, site) -> None:
    seen = look("old")
    (last, *_) = site("old").query("max by (node) (max_over_time(timestamp(node_load1)[2h:1s]))").values()
    assert seen.text("h1") in {f"No data since {clock(last - late)}" for late in (0, 60)}
    assert "measured no Pi since" in seen.text("#also")
    assert row(seen, "pi3")["disk"] == "63 % of 29 GB"
    assert seen.page.locator("html.stale").count() == 1


def test_where_nothing_was_measured_for_long_nothing_is_claimed(look) -> None:
    seen = look("unmeasured")
    assert seen.text("h1") == "No measurements"
    assert seen.text("#also") == "Prometheus answers, and has measured no Pi in the last 6 hours."
    assert seen.text("#fresh") == ""
    assert seen.page.locator("#pis").is_hidden()


@contextmanager
def answered_by(there: Site, other: Site) -> Iterator[None]:
    """Another shelf's Prometheus behind a page: what it knows becomes something else."""
    own = there.prometheus
    there.prometheus = other.prometheus
    try:
        yield
    finally:
        there.prometheus = own


def test_what_was_in_sight_stays_when_prometheus_forgets_it(browser, site) -> None:
    with visit(browser, "about:blank") as seen:
        seen.page.clock.install()
        seen.page.goto(site("healthy").url)
        seen.wait("html.good")
        with answered_by(site("healthy"), site("unmeasured")):
            seen.page.clock.fast_forward(15_000)
            seen.wait("html.stale")
            assert re.fullmatch(r"No data since \d\d:\d\d", seen.text("h1"))
            assert row(seen, "pi2")["load"] == "1.31 of 4 cores"


def test_what_came_while_nobody_looked_is_newer_than_what_is_in_sight(browser, site) -> None:
    with visit(browser, "about:blank") as seen:
        seen.page.clock.install()
        seen.page.goto(site("unmeasured").url)
        seen.wait("html.warn")
        with answered_by(site("unmeasured"), site("old")):
            seen.page.clock.fast_forward(15_000)
            seen.wait("html.stale")
            assert row(seen, "pi3")["disk"] == "63 % of 29 GB"


def test_the_numbers_of_now_need_no_past(browser, site) -> None:
    with visit(browser, "about:blank") as seen:
        seen.page.route("**/query_range?*", lambda route: route.fulfill(status=503))
        seen.page.goto(site("healthy").url)
        seen.wait("html[class]")
        assert seen.text("h1") == "All is well on 3 Pis"
        assert seen.page.locator("#pis svg").count() == 0


def test_a_browser_with_a_wrong_clock_is_told_the_right_time(browser, site) -> None:
    there = site("healthy")
    with visit(browser, "about:blank") as seen:
        seen.page.clock.install(time=datetime.now(NOON) - timedelta(days=400))
        seen.page.goto(there.url)
        seen.wait("html[class]")
        assert seen.text("h1") == "All is well on 3 Pis"
        assert any(f"Measured at {clock(time.time() - late)}" in seen.text("#fresh") for late in (0, 60))
        with answered_by(there, site("old")):
            seen.page.reload()
            seen.wait("html.stale")
            assert re.fullmatch(r"No data since \d\d:\d\d", seen.text("h1"))


def test_when_prometheus_goes_away_the_last_data_stay_and_are_called_old_until_it_is_back(browser, site) -> None:
    there = site("healthy")
    with visit(browser, "about:blank") as seen:
        seen.page.clock.install()
        seen.page.goto(there.url)
        seen.wait("html.good")
        measured = seen.text("#fresh")
        there.away = True
        try:
            seen.page.clock.fast_forward(15_000)
            seen.wait("html.stale")
            assert re.fullmatch(r"No data since \d\d:\d\d", seen.text("h1"))
            assert seen.text("h1")[-5:] in measured  # the time of the last measurement, not of the failure
            assert "Prometheus does not answer (502)" in seen.text("#also")
            assert row(seen, "pi2")["load"] == "1.31 of 4 cores"
            seen.page.reload()
            seen.wait("html.stale")
            assert row(seen, "pi2")["load"] == "1.31 of 4 cores"
        finally:
            there.away = False
        seen.page.clock.fast_forward(15_000)
        seen.wait("html.good")
        assert seen.text("h1") == "All is well on 3 Pis"


@pytest.mark.parametrize(("trouble", "why"), [("away", "does not answer"), ("password", "wants a password again")])
def test_a_first_visit_without_prometheus_claims_nothing(browser, site, trouble, why) -> None:
    there = site("healthy")
    setattr(there, trouble, True)
    try:
        with visit(browser, there.url) as seen:
            seen.wait("html.bad")
            assert seen.text("h1") == "No data"
            assert why in seen.text("#also")
            assert seen.page.locator("nav a").count() == 4
    finally:
        setattr(there, trouble, False)


def test_without_scripts_the_page_says_what_it_needs_and_where_to_go(browser, site) -> None:
    with visit(browser, site("healthy").url, java_script_enabled=False) as seen:
        assert "needs JavaScript" in seen.text("main")
        assert seen.text("h1") == "No data yet"
        assert seen.text(".cluster").strip() == "attic"
        assert seen.page.get_by_role("link", name="Prometheus").is_visible()


# ---------------------------------------------------------------- for everyone


@pytest.mark.parametrize("state", ["healthy", "gone", "power", "left", "single", "old", "hostile"])
@BOTH
def test_axe_finds_nothing_that_keeps_anybody_out(look, state, scheme) -> None:
    seen = look(state, color_scheme=scheme, reduced_motion="reduce")
    for width in (DESK, PHONE):
        seen.page.set_viewport_size({"width": width, "height": 900})
        found = Axe().run(seen.page)
        assert found.violations_count == 0, found.generate_report()


# Elements that reach beyond the window, but for those that are only read aloud.
BEYOND = """[...document.querySelectorAll("body *")].filter(
    (one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest("thead, svg")).length"""


@pytest.mark.parametrize("state", ["healthy", "gone", "many", "long", "hostile", "old"])
def test_nothing_has_to_be_scrolled_sideways(look, state) -> None:
    page = look(state).page
    for width in (PHONE, 700, 1000, DESK, 2200):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(BEYOND) == 0, width


@BOTH
def test_the_page_follows_the_readers_light_and_dark(look, scheme) -> None:
    page = look("healthy", color_scheme=scheme).page
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
    assert bright == (scheme == "light")


def test_a_table_is_a_table_for_a_screen_reader_also_on_a_phone(look) -> None:
    page = look("healthy", width=PHONE).page
    table = page.get_by_role("table", name="Pis")
    assert table.get_by_role("row").count() == 4
    assert table.get_by_role("columnheader").all_inner_texts() == page.locator("thead th").all_inner_texts()
    assert table.get_by_role("row").nth(1).get_by_role("cell").count() == 6
    for role, name in (("navigation", "Other pages of this cluster"), ("region", "Services"), ("region", "Deployed")):
        assert page.get_by_role(role, name=name).count() == 1


def test_every_link_is_reached_by_keyboard_and_seen(look) -> None:
    page = look("healthy").page
    for name in ("Prometheus", "Alertmanager", "Grafana"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name)).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


LISTEN = """window.heard = 0;
new MutationObserver((all) => { heard += all.length; }).observe(document.querySelector("[aria-live]"),
    { subtree: true, childList: true, characterData: true, attributes: true })"""


def test_the_spoken_summary_does_not_chatter(browser, site) -> None:
    with visit(browser, "about:blank") as seen:
        seen.page.clock.install()
        seen.page.goto(site("healthy").url)
        seen.wait("html.good")
        assert seen.page.locator("[aria-live=polite] h1").count() == 1
        seen.page.evaluate(LISTEN)
        for _ in range(3):
            with seen.page.expect_response(lambda answer: "/api/v1/query?" in answer.url):
                seen.page.clock.fast_forward(15_000)
            seen.page.wait_for_function("() => !asking")  # the next jump would be too long for what is under way
        assert seen.page.evaluate("heard") == 0, (seen.text(".verdict"), seen.complaints)


def test_who_wants_no_motion_gets_none(look) -> None:
    page = look("healthy", reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).transitionDuration") == "0s"


def test_each_refresh_asks_little_and_a_hidden_page_asks_nothing(browser, site) -> None:
    with visit(browser, "about:blank") as seen:
        asked: Callable[[], int] = lambda: sum("/api/v1/" in url for url in seen.requests)  # noqa: E731
        seen.page.clock.install()
        seen.page.goto(site("healthy").url)
        seen.wait("html.good")
        assert asked() == 3
        with seen.page.expect_response(lambda answer: "/api/v1/query?" in answer.url):
            seen.page.clock.fast_forward(15_000)
        seen.page.wait_for_function("() => !asking")
        assert asked() in (5, 6)  # the plots too where a step has gone by
        before = asked()
        seen.hide(True)
        seen.page.clock.fast_forward(120_000)
        seen.page.wait_for_timeout(300)
        assert asked() == before
        with seen.page.expect_response(lambda answer: "/api/v1/query?" in answer.url):
            seen.hide(False)


# ---------------------------------------------------------------- nobody gets in by a name


def test_what_labels_and_the_stack_say_stays_text(look) -> None:
    seen = look("hostile")
    assert HOSTILE in seen.page.locator("#pis th.name > b").all_inner_texts()
    assert HOSTILE in seen.text("#alerts")
    assert HOSTILE in seen.text("#services")
    assert HOSTILE in seen.text("#deployed")
    assert HOSTILE in seen.text(".cluster")
    assert seen.page.locator("main img, main a, main script").count() == 0


def test_the_page_needs_no_more_than_its_own_origin_and_holds_no_code_or_style_in_its_text(site) -> None:
    with no_proxy.open(site("healthy").url) as answer:
        text, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert re.findall(r"<script[^>]*>[^<]*", text) == ['<script src="/cgi-bin/index.cgi/page.js" defer>']
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", text)
    assert not re.search(r"url\(|@import", (WWW / "page.css").read_text())
    script = (WWW / "page.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", script)
    assert set(re.findall(r"https?://[^\"]+", script)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


# ---------------------------------------------------------------- how it is served


def test_all_of_the_page_is_under_sixty_kilobytes() -> None:
    assert 0 < sum(path.stat().st_size for path in WWW.rglob("*") if path.is_file()) < 60_000


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html; charset=utf-8"),
        ("cgi-bin/index.cgi/page.css", "text/css; charset=utf-8"),
        ("cgi-bin/index.cgi/page.js", "text/javascript; charset=utf-8"),
        ("cgi-bin/cluster", "application/json"),
    ],
)
def test_no_cache_keeps_a_page_longer_than_its_deploy(site, path, kind) -> None:
    with no_proxy.open(site("healthy").url + path) as answer:
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["ETag"] is None


@pytest.mark.parametrize("path", ["etc/passwd", "cgi-bin/index.cgi/../cluster.txt", "cgi-bin/index.cgi/cluster"])
def test_nothing_else_is_served(site, path) -> None:
    with pytest.raises(HTTPError, match="404"):
        no_proxy.open(site("healthy").url + path)


@pytest.mark.parametrize(("state", "cluster"), [("healthy", "attic"), ("hostile", HOSTILE)])
def test_programs_learn_who_answers_from_json_and_from_the_page(site, state, cluster) -> None:
    with no_proxy.open(site(state).url + "cgi-bin/cluster") as answer:
        assert json.load(answer) == {
            "cluster": cluster,
            "node": "pi2",
            "services": ["prometheus", "alertmanager", "grafana", "hello"],
        }
    with no_proxy.open(site(state).url) as answer:
        assert '<meta name="served-by" content="pi2">' in answer.read().decode()


def test_the_server_may_run_its_scripts() -> None:
    for script in (WWW / "cgi-bin").iterdir():
        assert script.stat().st_mode & 0o111 == 0o111
    assert not (WWW / "index.html").exists()  # it would be served in the script's place
