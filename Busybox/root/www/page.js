// The cluster at a glance. Reads Prometheus' API on the same origin; writes text and SVG into the page's DOM, and never
// markup: what a label says stays text. Two requests each refresh, and a third when the plots have moved on by a step.
"use strict";

// With the origin: from an address with a password in it a browser fetches nothing that is relative to it.
const API = location.origin + "/prometheus/api/v1/";
const REFRESH = 15; // seconds, as often as Prometheus scrapes
const PATIENCE = 10; // seconds, for an answer
const HOURS = 6; // of the plots
const STEP = 240; // seconds between a plot's points
// Seconds after which a measurement is old: Prometheus scrapes every 15, and may miss two.
const OLD = 45;
// Seconds after which the files of the measuring daemon, written every 15, are old.
const OLD_FILE = 120;

const NAMES = [
  "node_load1", "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_time_seconds",
  "node_boot_time_seconds", "node_filesystem_size_bytes", "node_filesystem_avail_bytes", "node_textfile_mtime_seconds",
  "pi_under_voltage", "pi_under_voltage_since_boot", "pi_throttled", "pi_reboot_required",
  "swarm_member_ready", "swarm_manager_leader", "swarm_service_tasks_desired", "swarm_service_tasks_running",
  "pishelf_revision_timestamp_seconds",
];
const temperature = (of) => `(max by (node) (${of("node_thermal_zone_temp")}) or max by (node) (${of("node_hwmon_temp_celsius")}))`;
const last = (selector) => `last_over_time(${selector}[${OLD}s])`; // a single scrape that failed is no news
// One answer for all: what is computed carries the label `q`, which no series of the world has.
const tagged = (tag, query) => `label_replace(${query}, "q", "${tag}", "", "")`;
const NOW = [
  last(`{__name__=~"${NAMES.join("|")}", mountpoint=~"|/"}`),
  tagged("now", "vector(time())"),
  tagged("cores", `count by (node) (count by (node, cpu) (${last('node_cpu_seconds_total{mode="idle"}')}))`),
  tagged("temperature", temperature(last)),
  // When each node was measured last: to the minute, and more exactly where that is not long ago.
  tagged("seen", `max by (node) (max_over_time(timestamp(node_load1)[${HOURS}h:1m]))`),
  // Also of one that is gone; of one whose name another Pi has now, that one's.
  tagged("model", `(${last("pi_model_info")} or last_over_time(pi_model_info[${HOURS}h]) unless on (node) ${last("pi_model_info")})`),
  // Whose gateway answers is there, whoever measures it or not.
  tagged("answers", `group by (node) (${last('process_start_time_seconds{job="gateway"}')})`),
  // Of those that are not heard of, whom the swarm did not miss when a manager last told.
  tagged("excused", last("pishelf:excused")),
  tagged("lately", "max by (node) (max_over_time(timestamp(node_load1)[10m:5s]))"),
].join(" or ");
const MEMORY = "1 - max by (node) (node_memory_MemAvailable_bytes) / max by (node) (node_memory_MemTotal_bytes)";
const PLOTS = [
  tagged("load", "max by (node) (node_load1)"), tagged("memory", MEMORY), tagged("temperature", temperature(String)),
].join(" or ");

// ---------------------------------------------------------------- what is asked

async function ask(path, parameters) {
  const answer = await fetch(`${API}${path}?${new URLSearchParams(parameters)}`, {
    signal: AbortSignal.timeout(PATIENCE * 1000), cache: "no-store", headers: { Accept: "application/json" },
  }).catch(() => { throw new Error("Prometheus does not answer"); });
  if (answer.status === 401) throw new Error("the gateway wants a password again: load this page anew");
  const said = await answer.json().catch(() => null);
  if (!answer.ok || said?.status !== "success") throw new Error(`Prometheus does not answer (${answer.status})`);
  return said.data;
}

/** Everything that the page shows, but for the plots' past; as it is now, or as it was at a time. */
async function look(time = "") {
  const [found, alerts] = await Promise.all([ask("query", { query: NOW, ...(time && { time }) }), ask("alerts", {})]);
  const now = Number(found.result.find((one) => one.metric.q === "now").value[1]);
  return { now, ...read(found.result, now), alerts: firing(alerts.alerts), watched: watched(alerts.alerts) };
}

/** The plots' past: node -> kind -> [[seconds, value], …]. */
async function past(end) {
  const data = await ask("query_range", { query: PLOTS, start: end - HOURS * 3600, end, step: STEP });
  const plots = Object.create(null); // a Pi may have any name
  for (const { metric, values } of data.result) {
    if (metric.node) (plots[metric.node] ??= {})[metric.q] = values.map(([time, value]) => [time, Number(value)]);
  }
  return { end, plots };
}

// ---------------------------------------------------------------- what it means

/** Series -> Pis, services and revisions. */
function read(series, now) {
  const of = new Map(); // "name|node" -> value
  const labels = new Map();
  for (const { metric, value } of series) {
    const key = `${metric.q ?? metric.__name__}|${metric.node}`;
    // Files that nobody writes any more must not look like measurements: the oldest counts.
    const kept = metric.__name__ === "node_textfile_mtime_seconds" ? Math.min(of.get(key) ?? Infinity, value[1]) : value[1];
    of.set(key, Number(kept));
    labels.set(key, metric);
  }
  const get = (name, node) => of.get(`${name}|${node}`);
  const latest = (node) => Math.max(get("lately", node) ?? 0, get("seen", node) ?? 0);
  const current = (node) => get("node_load1", node) !== undefined;
  const told = (node) => // whether what the daemon on a node says is of now
    current(node) && !(get("node_time_seconds", node) - get("node_textfile_mtime_seconds", node) > OLD_FILE);

  // What the manager says that tells of the swarm; one that is gone says nothing, however long Prometheus remembers it.
  const swarm = series.filter(({ metric }) => /^(swarm|pishelf)_/.test(metric.__name__) && told(metric.node));
  const named = (name) => swarm.filter(({ metric }) => metric.__name__ === name);
  const members = new Map(named("swarm_member_ready").map(({ metric, value }) => [metric.member, { ...metric, ready: value[1] === "1" }]));
  const measured = series.filter(({ metric }) => metric.q === "seen" || metric.q === "lately").map(({ metric }) => metric.node);
  const names = [...new Set([...members.keys(), ...measured])].filter(Boolean);
  const blind = !names.some(current);
  names.sort((one, other) => one.localeCompare(other, "en", { numeric: true }));

  // The leader tells of the swarm; while it is drained another manager does, whose engine says that it does not lead.
  const leads = (name) => members.get(name)?.node === name && get("swarm_manager_leader", name) !== 0;
  const pis = names.map((name) => {
    const value = (metric) => (current(name) ? get(metric, name) : undefined);
    const sensor = (metric) => (told(name) ? get(metric, name) : undefined);
    const member = members.get(name);
    const total = value("node_memory_MemTotal_bytes");
    const size = value("node_filesystem_size_bytes");
    return {
      name, state: blind ? "silent" : stateOf(members.size > 0, member, current(name), get("answers", name), get("excused", name)), last: latest(name),
      model: labels.get(`model|${name}`)?.model,
      role: member?.role, leader: leads(name), availability: member?.availability,
      load: value("node_load1"), cores: value("cores"),
      memory: total && 1 - value("node_memory_MemAvailable_bytes") / total, total,
      temperature: value("temperature"),
      disk: size && 1 - value("node_filesystem_avail_bytes") / size, size,
      low: sensor("pi_under_voltage"), was: sensor("pi_under_voltage_since_boot"), throttled: sensor("pi_throttled"),
      reboot: sensor("pi_reboot_required"),
      up: value("node_time_seconds") - value("node_boot_time_seconds"),
    };
  });
  // By name: for a while after a change of leaders the last words of both are there.
  const tasks = (name) => new Map(named(name).map(({ metric, value }) => [metric.service, Number(value[1])]));
  const [desired, running] = [tasks("swarm_service_tasks_desired"), tasks("swarm_service_tasks_running")];
  const services = [...desired].map(([name, wanted]) => ({
    name: name.replace(/^shelf_/, ""), desired: wanted, running: running.get(name) ?? 0,
  })).sort((one, other) => one.name.localeCompare(other.name));
  const revisions = new Map(); // when one has just ended well, both of its states are among the last measurements
  for (const { metric, value } of named("pishelf_revision_timestamp_seconds")) {
    if (metric.state !== "unfinished" || !revisions.has(metric.revision)) revisions.set(metric.revision, { ...metric, time: Number(value[1]) });
  }
  return {
    pis, services, revisions: [...revisions.values()].sort((one, other) => other.time - one.time),
    known: members.size > 0, blind, newest: Math.max(0, ...names.map(latest)),
  };
}

/**
 * `here`, `gone`, `silent` (it is there, but unmeasured), `drained` (so nothing runs there that could measure it),
 * `unready` (measured, but the swarm does not reach it), `left`, `excused` (drained or left: nobody tells which).
 */
function stateOf(known, member, measured, answers, excused) {
  if (!known) return measured ? "here" : answers ? "silent" : excused ? "excused" : "gone";
  if (!member) return measured ? "here" : "left";
  if (member.ready) return measured ? "here" : member.availability === "drain" ? "drained" : "silent";
  return measured ? "unready" : "gone";
}

const SEVERITIES = { __proto__: null, page: "Urgent", warning: "Warning", info: "Good to know" };

function firing(alerts) {
  const urgency = (alert) => Object.keys(SEVERITIES).indexOf(alert.labels.severity) >>> 0; // what is unknown comes last
  // Some go on firing for a while when it is over, so that no end is mailed too early; here it is over.
  return alerts.filter((alert) => alert.state === "firing" && !alert.keepFiringSince && alert.labels.severity !== "none")
    .sort((one, other) => urgency(one) - urgency(other) || one.activeAt.localeCompare(other.activeAt));
}

/** Those that want somebody to do something. */
const serious = (alerts) => alerts.filter(({ labels }) => labels.severity !== "info");

const titleOf = ({ labels, annotations }) => annotations.summary ?? labels.alertname;

/** Whether the alert that always fires does: else nobody evaluates the rules. */
const watched = (alerts) => alerts.some((alert) => alert.state === "firing" && alert.labels.severity === "none");

/** What is wrong, the gravest first, each a sentence without its end. */
function troubles(seen) {
  const found = [];
  const say = (those, what, one, many, when = "") => {
    if (those.length) found.push(`${list(those.map(({ name }) => name), what)} ${those.length > 1 ? many : one}${when}`);
  };
  const since = (pis) => {
    const times = new Set(pis.map((pi) => (pi.last ? clock(pi.last, seen.now) : ""))); // several: beside each Pi's name
    return times.size === 1 && !times.has("") ? ` since ${[...times][0]}` : "";
  };
  const [gone, silent, unready] = ["gone", "silent", "unready"].map((state) => seen.pis.filter((pi) => pi.state === state));
  say(gone, "Pis", "is gone", "are gone", since(gone));
  say(silent, "Pis", "gives no measurements", "give no measurements", since(silent));
  say(unready, "Pis", "is out of the swarm's reach", "are out of the swarm's reach");
  say(seen.pis.filter((pi) => pi.low), "Pis", "gets too little power", "get too little power");
  say(seen.services.filter((service) => service.running < service.desired), "services", "is short of replicas", "are short of replicas");
  const alerts = serious(seen.alerts);
  if (alerts.length) found.push(alerts.length > 1 ? `${alerts.length} alerts fire` : `1 alert fires: ${titleOf(alerts[0])}`);
  return found;
}

// ---------------------------------------------------------------- how it is said

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

function list(names, what) {
  if (names.length > 3) return `${names.length} ${what}`;
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
}

/** A moment as its reader's clock shows it, with the day where that is not today. */
function clock(seconds, now = Date.now() / 1000) {
  const [then, today] = [new Date(seconds * 1000), new Date(now * 1000)];
  const time = then.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (then.toDateString() === today.toDateString()) return time;
  const year = then.getFullYear() === today.getFullYear() ? undefined : "numeric";
  return `${then.toLocaleDateString("en-GB", { day: "numeric", month: "short", year })}, ${time}`;
}

function period(seconds) {
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (days >= 2) return plural(days, "day");
  if (hours >= 2) return plural(hours, "hour");
  return minutes >= 2 ? plural(minutes, "minute") : plural(Math.floor(seconds), "second");
}

const size = (bytes) => (bytes >= 1e9 ? `${Number((bytes / 1e9).toFixed(bytes < 1e10 ? 1 : 0))} GB` : `${Math.round(bytes / 1e6)} MB`);
const percent = (ratio) => `${Math.round(ratio * 100)} %`;

// What has a plot: its unit, the least span of its scale, and how a value and what stands beside it are written.
const KINDS = {
  load: { title: "Load", span: (pi) => [0, pi.cores ?? 1], write: (x) => x.toFixed(2), beside: (pi) => pi.cores && `of ${plural(pi.cores, "core")}` },
  memory: { title: "Memory", span: () => [0, 1], write: percent, beside: (pi) => pi.total && `of ${size(pi.total)}` },
  temperature: { title: "Temperature", span: () => [20, 85], write: (x) => `${Math.round(x)} °C`, beside: () => "" },
};

function power(pi) {
  if (pi.low === undefined) return ["unknown", "no sensor says", "quiet"];
  const beside = pi.throttled ? "throttled now" : "";
  if (pi.low) return ["too low", beside || "under-voltage now", "bad"];
  if (pi.was) return ["good now", beside || "was too low since boot", "warn"];
  return pi.throttled ? ["good", beside, "warn"] : ["good", pi.was === undefined ? "since boot: unknown" : "since boot", ""];
}

const DRAINED = "drained: gets no work";

function note(pi, now) {
  const since = pi.last ? ` since ${clock(pi.last, now)}` : "";
  return {
    gone: `gone${since}`, silent: `no measurements${since}`, unready: "the swarm does not reach it",
    left: `left the swarm, last seen ${clock(pi.last, now)}`, excused: `drained or left, last seen ${clock(pi.last, now)}`,
    drained: DRAINED, here: { drain: DRAINED, pause: "paused: gets no new work" }[pi.availability] ?? (pi.reboot ? "wants a restart" : ""),
  }[pi.state];
}

// ---------------------------------------------------------------- how it gets into the page

const $ = (selector, root = document) => root.querySelector(selector);

/** Text that stays as it is where it is the same: what reads the page aloud hears of changes only. */
function put(element, text = "") {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

function make(tag, className = "", text = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A line over the last hours, with gaps where nothing was measured; drawn anew only when a point is added. */
function plot(kind, pi, points, end) {
  const [width, height, edge] = [120, 28, 2];
  const { title, span, write } = KINDS[kind];
  const values = points.map(([, value]) => value);
  const [least, most] = span(pi);
  const [low, high] = [Math.min(least, ...values), Math.max(most, ...values)];
  const x = (time) => (width - edge) * (1 - (end - time) / (HOURS * 3600));
  const y = (value) => height - edge - ((value - low) / (high - low)) * (height - 2 * edge);
  const runs = [];
  points.forEach(([time, value], index) => {
    if (!index || time - points[index - 1][0] > 1.5 * STEP) runs.push([]);
    runs.at(-1).push([x(time), y(value)].map((number) => Math.max(0, number).toFixed(1)).join(" "));
  });
  const line = runs.map((run) => `M${run.join("L")}${run.length > 1 ? "" : "h0"}`).join("");
  const area = runs.map((run) => `M${run[0].split(" ")[0]} ${height}L${run.join("L")}V${height}Z`).join("");
  const said = `${title} over the last ${HOURS} hours: ${write(Math.min(...values))} to ${write(Math.max(...values))}`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": said },
    svg("path", { class: "floor", d: `M0 ${height - 0.5}H${width}` }),
    svg("path", { class: "area", d: area }), svg("path", { class: "line", d: line }),
    svg("path", { class: "dot", d: `M${runs.at(-1).at(-1)}h0` }));
}

const rows = new Map(); // node -> its row

function row(name) {
  const cell = (label, ...inside) => {
    const element = make("td", label.toLowerCase().replace(/ .*/, ""), "", make("span", "label", label), ...inside);
    element.setAttribute("role", "cell");
    $(".label", element).ariaHidden = "true"; // the column's heading says it
    return element;
  };
  const figure = () => make("span", "figure", "", make("b"), make("small"));
  const heading = make("th", "name", "", make("b", "", name), make("small", "note"), make("small", "role"), make("small", "model"));
  heading.setAttribute("role", "rowheader");
  heading.scope = "row";
  const element = make("tr", "", "", heading,
    ...Object.values(KINDS).map(({ title }) => cell(title, figure(), make("span", "plot"))),
    cell("Power", figure()), cell("Disk", figure()), cell("Up for", figure()));
  element.setAttribute("role", "row");
  return element;
}

function showPi(element, pi, seen, history) {
  element.className = pi.state;
  put($(".role", element), `${pi.role ?? "role unknown"}${pi.leader ? ", the leader" : ""}`);
  put($(".model", element), pi.model ?? "model unknown");
  put($(".note", element), note(pi, seen.now));
  const figure = (name, value, beside, tone = "") => {
    const cell = $(`.${name} .figure`, element);
    cell.className = `figure ${value === undefined ? "quiet" : tone}`;
    put($("b", cell), value ?? (pi.state === "here" || pi.state === "unready" ? "unknown" : "–"));
    put($("small", cell), (value !== undefined && beside) || "");
  };
  const known = (value, write) => (Number.isFinite(value) ? write(value) : undefined);
  for (const [kind, { write, beside }] of Object.entries(KINDS)) {
    figure(kind, known(pi[kind], write), beside(pi));
    const place = $(`.${kind} .plot`, element);
    const points = history?.plots[pi.name]?.[kind] ?? [];
    const key = `${history?.end} ${points.length} ${pi.cores}`;
    if (place.dataset.key === key) continue;
    place.dataset.key = key;
    place.replaceChildren(...(points.length ? [plot(kind, pi, points, history.end)] : []));
  }
  const measured = Number.isFinite(pi.load);
  const [value, beside, tone] = measured ? power(pi) : [undefined, "", ""];
  figure("power", value, beside, tone);
  figure("disk", known(pi.disk, percent), pi.size && `of ${size(pi.size)}`);
  figure("up", known(pi.up, period), "");
}

function showPis(seen, history) {
  for (const [name, element] of rows) {
    if (!seen.pis.some((pi) => pi.name === name)) element.remove(), rows.delete(name);
  }
  const body = $("#pis tbody");
  seen.pis.forEach((pi, index) => {
    if (!rows.has(pi.name)) rows.set(pi.name, row(pi.name));
    const element = rows.get(pi.name);
    if (body.children[index] !== element) body.insertBefore(element, body.children[index] ?? null);
    showPi(element, pi, seen, history);
  });
  $("#pis").hidden = !seen.pis.length;
}

/** A list whose entries are made anew only when what they say has changed. */
function showList(section, entries, otherwise) {
  const key = JSON.stringify(entries.map((entry) => entry.map(String)));
  const quiet = $("p", section);
  section.hidden = !entries.length && !otherwise;
  if (quiet) {
    quiet.hidden = entries.length > 0;
    put(quiet, otherwise);
  }
  const place = $("ul, ol", section);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...entries.map(([className, ...parts]) =>
    make("li", className, "", ...parts.filter(([, , text]) => text).map((part) => make(...part)))));
}

function showAlerts(seen) {
  showList($("#alerts"), seen.alerts.map(({ labels, annotations, activeAt }) => [
    { __proto__: null, page: "bad", info: "info" }[labels.severity] ?? "warn",
    ["p", "severity", `${SEVERITIES[labels.severity] ?? labels.severity ?? "Alert"}, since ${clock(Date.parse(activeAt) / 1000, seen.now)}`],
    ["h3", "", titleOf({ labels, annotations })],
    ["p", "", annotations.description],
    ["p", "quiet", annotations.runbook && `More: ${annotations.runbook}`],
  ]));
}

function showServices(seen) {
  showList($("#services"), seen.services.map(({ name, desired, running }) => [
    running < desired ? "bad" : "",
    ["b", "", name],
    ["span", "", `${running} of ${desired}${running < desired ? `, ${desired - running} missing` : ""}`],
  ]), seen.known ? "The swarm has no services." : "Unknown: no manager says how they are.");
}

const STATES = { __proto__: null, good: "went well", failed: "failed", unfinished: "has not finished", unreadable: "cannot be read" };

function showRevisions(seen) {
  showList($("#deployed"), seen.revisions.map(({ revision, state, by, source, time }) => [
    state === "failed" ? "bad" : "",
    ["b", "", clock(time, seen.now)],
    ["span", "", `revision ${revision} ${STATES[state] ?? state ?? ""}`],
    ["small", "", [by && `by ${by}`, source && `from ${source}`].filter(Boolean).join(" ")],
  ]), seen.known ? "Nothing yet, as far as the swarm remembers." : "Unknown: no manager says so.");
}

/** What cannot be said, each a sentence. */
const unknown = (seen) => [
  seen.known ? "" : "Nobody says how the swarm is: no manager tells.",
  seen.watched ? "" : "Nobody says whether an alert should fire: the rules are not at work.",
].filter(Boolean);

/** Whether what is known is not of now. */
const stale = (seen, why) => Boolean(why || (seen.newest && seen.blind));

/** The sentence on top, what stands below it, and the tone of both. */
function verdict(seen, why) {
  if (!seen) return ["No data", `${capital(why)}. This page goes on asking.`, "bad"];
  if (stale(seen, why)) {
    const reason = why || "Prometheus answers, but has measured no Pi since";
    const since = clock(seen.newest || seen.now, why ? undefined : seen.now);
    return [`No data since ${since}`, `${capital(reason)}. What stands below is what was known then.`, "bad"];
  }
  if (!seen.pis.length) return ["No measurements", `Prometheus answers, and has measured no Pi in the last ${HOURS} hours.`, "warn"];
  const [worst, ...others] = troubles(seen);
  const open = unknown(seen);
  if (worst) return [worst, [...others.map((text) => `${text}.`), ...open].join(" "), "bad"];
  const here = seen.pis.filter((pi) => pi.state === "here").length;
  if (open.length) return [`${plural(here, "Pi")} ${here === 1 ? "answers" : "answer"}`, open.join(" "), "warn"];
  const news = seen.alerts.length ? `Good to know: ${list(seen.alerts.map(titleOf), "notes below")}.` : "";
  return [`All is well on ${plural(here, "Pi")}`, news, "good"];
}

/** How old what is shown is. */
function freshness(seen, why) {
  if (!seen.newest) return "";
  const measured = new Date(seen.newest * 1000);
  if (stale(seen, why)) return `Last measured on ${measured.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "medium" })}.`;
  const quiet = seen.watched && !serious(seen.alerts).length ? " No alert fires." : "";
  return `Measured at ${measured.toLocaleTimeString("en-GB")}.${quiet} The lines show the last ${HOURS} hours.`;
}

function show(seen, history, why) {
  const [sentence, also, tone] = verdict(seen, why);
  put($("#verdict"), sentence);
  put($("#also"), also);
  const old = Boolean(seen) && stale(seen, why);
  document.documentElement.className = [tone, old && "stale", old && why && "away"].filter(Boolean).join(" ");
  document.title = `${sentence} · ${cluster}`;
  if (!seen) return;
  put($("#fresh"), freshness(seen, why));
  showAlerts(seen);
  showPis(seen, history);
  showServices(seen);
  showRevisions(seen);
}

// ---------------------------------------------------------------- again and again

const cluster = document.title;
let seen = null;
let history = null;
let timer = 0;
let asking = false;

// What was known last outlives a reload of the page, while its tab is open; a browser may forbid to keep anything.
function keep(known) {
  try { sessionStorage.setItem("known", JSON.stringify(known)); } catch { /* then it is asked for again */ }
}

function kept() {
  try { return JSON.parse(sessionStorage.getItem("known")) ?? {}; } catch { return {}; }
}

/** What was found or, where nothing is measured any more, what was known last: it stays in sight. */
async function known(found) {
  if (!found.blind || !(seen || found.newest)) return found;
  // What is in sight may be of long before: nobody asks while nobody looks.
  const before = seen?.newest >= found.newest ? seen : await look(found.newest);
  const { now, alerts, watched } = found;
  return { ...before, now, alerts, watched, blind: true, newest: Math.max(before.newest, found.newest) };
}

/** Ask, show, and ask again after a while; not while nobody looks. */
async function refresh() {
  clearTimeout(timer);
  if (document.hidden || asking) return;
  asking = true;
  let why = "";
  try {
    const found = await look();
    const end = Math.floor(found.now / STEP) * STEP;
    // The numbers of now are of use without the lines of the past, which cost Prometheus more.
    if (history?.end !== end) history = await past(end).catch(() => history);
    seen = await known(found);
    keep({ seen, history });
  } catch (error) {
    if (!seen) ({ seen, history } = kept());
    why = error.message;
  }
  asking = false;
  timer = setTimeout(refresh, REFRESH * 1000);
  show(seen, history, why); // the last: what it stumbles over once must not be what stands there for ever
}

document.addEventListener("visibilitychange", refresh);
refresh();
