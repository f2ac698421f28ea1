// The other parts of the report.

const REPORT = DATA.report;

// -- every rewrite, searchable ---------------------------------------------------------------------------------------

const REWRITES = DATA.rewrites.map(([rule, pass, where, origins, more, results, region], id) => ({
  id, region, more, rule: text(rule), pass: text(pass), where: text(where), origins: origins.map(text), results: results.map(text),
}));
let byOrigin = null;

// The rewrites in which nodes of the original had a part.
function rewritesAt(ids) {
  if (!byOrigin) {
    byOrigin = new Map();
    for (const rewrite of REWRITES) {
      for (const name of new Set([...rewrite.origins, rewrite.where])) {
        if (!byOrigin.has(name)) byOrigin.set(name, []);
        byOrigin.get(name).push(rewrite);
      }
    }
  }
  return [...new Set(ids.flatMap((id) => byOrigin.get(MODELS[0].nodes[id].name) || []))];
}

const ROW = 32;

const rewrites = {
  found: REWRITES,
  chosen: null,

  build() {
    const rules = [...groupBy(REWRITES, (rewrite) => rewrite.rule)].sort((a, b) => b[1].length - a[1].length);
    this.input = el("input", { type: "search", placeholder: "Search rule, pass, node or value", "aria-label": "search the rewrites",
      oninput: () => this.search() });
    this.total = el("span", { class: "muted", "aria-live": "polite" });
    this.chips = el("div", { class: "chips" }, rules.slice(0, 14).map(([rule, found]) =>
      button([rule, el("b", {}, found.length)], () => this.ask(this.input.value === rule ? "" : rule), { "data-rule": rule })));
    this.space = el("div", { class: "space" });
    this.view = el("div", { class: "rows", onscroll: () => this.paint() }, this.space);
    this.details = el("div", { class: "details", "aria-live": "polite" });
    const head = el("div", { class: "row head", "aria-hidden": "true" }, ["#", "Rule", "Pass", "Place"].map((name) => el("span", {}, name)));
    if (!REWRITES.length) return section("rewrites", "Every rewrite", el("p", { class: "muted" }, "Nothing was rewritten."));
    return section("rewrites", "Every rewrite", this.chips, el("div", { class: "searching" }, this.input, this.total),
      el("div", { class: "panel list" }, head, this.view), this.details);
  },

  start() {
    if (REWRITES.length) this.search();
  },

  ask(words) {
    this.input.value = words;
    this.search();
  },

  search() {
    const words = this.input.value.toLowerCase().split(/\s+/).filter(Boolean);
    this.found = REWRITES.filter((rewrite) => {
      rewrite.words ||= [rewrite.rule, rewrite.pass, rewrite.where, ...rewrite.origins, ...rewrite.results].join("\n").toLowerCase();
      return words.every((word) => rewrite.words.includes(word));
    });
    for (const chip of this.chips.children) chip.setAttribute("aria-pressed", String(chip.dataset.rule === this.input.value));
    this.total.textContent = `${this.found.length.toLocaleString("en")} of ${plural(REWRITES.length, "rewrite")}`;
    this.space.style.height = `${this.found.length * ROW}px`;
    this.view.style.height = `${Math.min(this.found.length, 11) * ROW}px`;
    this.view.scrollTop = 0;
    this.paint();
  },

  // Only the rows that can be seen exist.
  paint() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - 4);
    const rows = this.found.slice(first, first + 24).map((rewrite, index) =>
      el("button", { type: "button", class: "row", style: { top: `${(first + index) * ROW}px` }, title: rewrite.where,
        "aria-pressed": String(rewrite === this.chosen), "data-rewrite": rewrite.id, onclick: () => this.choose(rewrite, true) },
      el("span", { class: "muted" }, rewrite.id + 1), el("span", { class: "rule" }, rewrite.rule),
      el("span", {}, rewrite.pass), el("code", {}, rewrite.where)));
    clear(this.space, rows);
  },

  choose(rewrite, isListed = false) {
    this.chosen = rewrite;
    if (!isListed) {
      this.ask("");
      this.view.scrollTop = this.found.indexOf(rewrite) * ROW;
      document.getElementById("rewrites").scrollIntoView({ behavior: "smooth" });
    }
    this.paint();
    const names = (list, more) => el("ul", {}, list.map((name) => el("li", {}, el("code", {}, name))), more ? el("li", {}, "and more") : null);
    const region = REGIONS[rewrite.region];
    clear(this.details, el("h4", {}, rewrite.rule, " ", el("span", { class: "muted" }, `rewrite ${rewrite.id + 1}, by ${rewrite.pass}`), " ",
      region && button("Show the drawing", () => {
        changes.open(region);
        document.getElementById("changes").scrollIntoView({ behavior: "smooth" });
      }, { class: "small" })),
    el("dl", {}, rewrite.where && [el("dt", {}, "place"), el("dd", {}, el("code", {}, rewrite.where))],
      rewrite.origins.length && [el("dt", {}, "original nodes"), el("dd", {}, names(rewrite.origins, rewrite.more))],
      rewrite.results.length && [el("dt", {}, "values it computes"), el("dd", {}, names(rewrite.results))]));
  },
};

// Why rules that matched did nothing.
function declined() {
  if (!DATA.declines.length) return null;
  const rows = DATA.declines.map(([reason, rule, pass, times]) => [reason, el("code", {}, rule), pass, times]);
  return section("declined", "What was left alone", el("p", { class: "lead" }, "Where a rule matched and did nothing, and why."),
    longTable(["reason", "rule", "pass", "times"], rows, 8));
}

// -- operators, time, memory -----------------------------------------------------------------------------------------

function pairOfBars(before, after, most) {
  const bar = (kind, amount) => el("i", { class: `bar ${kind}`, style: { width: `${most ? (100 * amount) / most : 0}%` } });
  return el("div", { class: "bars" }, bar("before", before), bar("after", after));
}

function operators() {
  const ops = REPORT.before.ops;
  const now = REPORT.after.ops;
  const names = [...new Set([...Object.keys(ops), ...Object.keys(now)])];
  const rows = names.map((name) => [name, ops[name] || 0, now[name] || 0]);
  rows.sort((a, b) => Math.max(b[1], b[2]) - Math.max(a[1], a[2]) || (a[0] < b[0] ? -1 : 1));
  const most = Math.max(...rows.map((row) => Math.max(row[1], row[2])), 1);
  const cost = (name, column, show) => {
    const [one, other] = DATA.costs.map((costs) => (costs[name] || [0, 0, 0])[column]);
    return one || other ? (one === other ? show(other) : `${show(one)} → ${show(other)}`) : "";
  };
  const cells = rows.map(([name, one, other]) => [el("code", {}, name), pairOfBars(one, other, most), one, other,
    one === other ? "" : `${other > one ? "+" : "−"}${Math.abs(other - one)}`, cost(name, 1, count), cost(name, 2, bytes)]);
  return section("operators", "Operators", longTable(["operator", legendOfBars(), "before", "after", "change", "FLOPs", "bytes read and written"], cells));
}

const legendOfBars = () => el("span", { class: "legend" }, el("i", { class: "bar before" }), "before ", el("i", { class: "bar after" }), "after");

function times() {
  const rows = REPORT.passes;
  const most = Math.max(...rows.map((run) => run.seconds), 1e-9);
  const bar = (amount, all) => el("div", { class: "bars" }, el("i", { class: "bar after", style: { width: `${(100 * amount) / all}%` } }));
  const passes = rows.map((run) => [el("code", {}, run.name), bar(run.seconds, most), seconds(run.seconds), run.rewrites, run.nodes]);
  const phases = Object.entries(REPORT.seconds);
  const whole = phases.reduce((sum, [, amount]) => sum + amount, 0) || 1;
  return section("time", "Time",
    el("p", { class: "lead" }, phases.map(([name, amount], index) => [index ? ", " : "", `${name} `, el("b", {}, seconds(amount))]), phases.length > 1 ? `: ${seconds(whole)} in all.` : "."),
    rows.length ? table(["pass", "", "time", "rewrites", "nodes after it"], passes) : null);
}

function memory() {
  const [before, after] = DATA.memory;
  const [width, height, left] = [1000, 220, 70];
  const top = Math.max(before.peak, after.peak, 1);
  const y = (amount) => height - (height - 16) * (amount / top);
  const line = (live, close) => {
    const step = width / Math.max(live.length, 1);
    const steps = live.map((amount, index) => `H${(index * step).toFixed(1)}V${y(amount).toFixed(1)}`).join("");
    return close ? `M0 ${height}${steps}H${width}V${height}Z` : `M0 ${y(live[0] || 0)}${steps}H${width}`;
  };
  const grid = [0, 0.5, 1].map((share) => [svg("path", { class: "grid", d: `M0 ${y(share * top)}H${width}` }),
    svg("text", { class: "tick", x: -8, y: y(share * top) + 4, "text-anchor": "end" }, bytes(Math.round(share * top)))]);
  const plot = svg("svg", { viewBox: `${-left} 0 ${width + left + 4} ${height + 24}`, class: "plot", role: "img",
    "aria-label": "activation memory over one run, before and after" }, grid,
    svg("path", { class: "area after", d: line(after.live, true) }), svg("path", { class: "line before", d: line(before.live) }),
    svg("text", { class: "tick", x: 0, y: height + 18 }, "first node"), svg("text", { class: "tick", x: width, y: height + 18, "text-anchor": "end" }, "last node"));
  const said = (what, { peak, at }) => el("li", {}, `${what}: at most `, el("b", {}, bytes(peak)), at && [" while ", el("code", {}, at), " runs"]);
  const unknown = Math.max(before.unknown, after.unknown);
  return section("memory", "Memory over one run", el("div", { class: "panel" }, plot, el("p", { class: "legend muted" }, el("i", { class: "stroke" }), "before ", el("i", { class: "bar after" }), "after")),
    el("ul", { class: "plain" }, said("Before", before), said("After", after)),
    el("p", { class: "muted" }, `What is held while each node runs: values from where they are computed to where they are last read, inputs and outputs to the end, no weights.${sizesText()}${
      unknown ? ` ${plural(unknown, "value")} of unknown rank not counted.` : ""}`));
}

function sizesText() {
  const sizes = Object.entries(DATA.sizes).map(([name, size]) => `${name} = ${size}`);
  if (sizes.length) return ` Sizes: ${sizes.join(", ")}.`;
  return REPORT.before.symbolic ? " Unknown sizes are assumed: 1 for a batch, 64 for others." : "";
}

// -- proof -------------------------------------------------------------------------------------------------------------

const DECADES = ["≤ 10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "0.01", "0.1", "1", "10", "> 10"];

function distribution(output) {
  const found = output.distribution || [];
  const counted = found.reduce((sum, each) => sum + each, 0);
  if (!counted) return output.bit_equal ? el("span", { class: "good" }, "equal to the bit") : "";
  const bins = [Math.max(output.elements - output.mismatches, 0), ...found];
  const most = Math.log1p(Math.max(...bins));
  const labels = ["equal", ...DECADES];
  return el("div", { class: "distribution" }, bins.map((amount, index) =>
    el("div", { title: `${plural(amount, "element")} (${small((100 * amount) / output.elements)}%): ${index ? `error ${labels[index]} of the tolerance` : "equal"}` },
      el("span", { class: "holder" }, el("i", { class: index > 7 ? "bar gone" : "bar after", style: { height: `${most ? (100 * Math.log1p(amount)) / most : 0}%` } })), el("small", {}, labels[index]))));
}

function proof() {
  const found = REPORT.validation;
  const parts = [];
  if (found.outputs?.length) {
    const rows = found.outputs.map((output) => [el("code", {}, output.name), el("span", { class: `pill ${output.status}` }, output.status),
      distribution(output), small(output.max_abs), small(output.max_rel), small(output.worst), output.note || ""]);
    const named = ["output", "", "errors as multiples of the tolerance (columns: logarithm of how many elements)", "max abs", "max rel", "of the tolerance", ""];
    parts.push(longTable(named.slice(0, rows.some((row) => row[6]) ? 7 : 6), rows.map((row) => rows.some((each) => each[6]) ? row : row.slice(0, 6)), 12));
  }
  const half = Object.entries(found.half || {});
  if (half.length) parts.push(el("h3", {}, "Half precision"), pairs(half));
  const sizes = Object.entries(found.sizes || {});
  if (sizes.length) parts.push(el("p", {}, "Tried at ", sizes.map(([name, list], index) => [index ? "; " : "", el("code", {}, name), ` = ${list.join(", ")}`]), "."));
  for (const [title, list] of [["Taken back because it was wrong", REPORT.undone.map((fault) => `${fault.rule} (${fault.pass_name}) at ${fault.node}: ${fault.reason}`)],
    ["Warnings", REPORT.warnings], ["Notes", REPORT.notes]]) {
    if (list.length) parts.push(el("h3", {}, title), el("ul", {}, list.map((line) => el("li", {}, line))));
  }
  return section("proof", "Proof", el("p", { class: "lead" }, el("span", { class: `pill ${REPORT.status}` }, REPORT.status), " ", found.reason || "Validation was not asked for."), parts);
}

// -- what passes measured and tabulated ------------------------------------------------------------------------------

const spaced = (name) => name.replaceAll("_", " ");

function pairs(entries) {
  const show = (value) => (typeof value === "number" ? small(value) : typeof value === "boolean" ? (value ? "yes" : "no") : value);
  return el("dl", { class: "pairs" }, entries.filter(([, value]) => value !== "" && value !== null).map(([name, value]) => el("div", {}, el("dt", {}, spaced(name)), el("dd", {}, show(value)))));
}

const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// Any data that a pass left, by its form: figures, a chart for a figure by name, a table for a list of records.
function shown(name, value, depth = 0) {
  const title = el(depth ? "h4" : "h3", {}, spaced(name));
  if (Array.isArray(value) && value.length && value.every(isRecord)) return [title, records(value)];
  if (Array.isArray(value)) return value.length ? [title, el("p", {}, value.map(small).join(", "))] : [];
  const entries = Object.entries(value);
  if (entries.length > 6 && entries.every(([, each]) => typeof each === "number")) {
    return [title, records(entries.map(([key, amount]) => ({ name: key, value: amount })))];
  }
  const plain = entries.filter(([, each]) => each === null || typeof each !== "object");
  const rest = entries.filter(([, each]) => each !== null && typeof each === "object" && Object.keys(each).length);
  return [title, plain.length ? pairs(plain) : null, rest.map(([key, each]) => shown(key, each, depth + 1))];
}

const LOSSES = ["loss", "error", "value"];

// Records as a table; where they have an error or a loss, the worst first, with a bar.
function records(list) {
  const keys = [...new Set(list.flatMap(Object.keys))].filter((key) => list.some((each) => each[key] !== "" && each[key] !== undefined));
  const by = LOSSES.find((key) => keys.includes(key) && list.some((each) => typeof each[key] === "number" && each[key] > 0));
  const cell = (value) => (value === undefined || value === null ? "" : typeof value === "number" ? small(value) : isRecord(value) || Array.isArray(value) ? JSON.stringify(value) : String(value));
  if (!by || list.length < 4) return longTable(keys.map(spaced), list.map((each) => keys.map((key) => cell(each[key]))));
  const amount = (each) => (typeof each[by] === "number" ? each[by] : Infinity);
  const sorted = [...list].sort((a, b) => (amount(a) < amount(b) ? 1 : amount(a) > amount(b) ? -1 : 0));
  const real = sorted.map(amount).filter((each) => Number.isFinite(each) && each > 0);
  const [low, high] = [Math.log(real.at(-1)) - 0.5, Math.log(real[0])];
  const width = (each) => (amount(each) === Infinity ? 100 : amount(each) > 0 ? (100 * (Math.log(amount(each)) - low)) / (high - low || 1) : 0);
  const rows = sorted.map((each) => [...keys.map((key) => cell(each[key])), el("div", { class: "bars" }, el("i", { class: `bar ${amount(each) === Infinity ? "gone" : "after"}`, style: { width: `${width(each)}%` } }))]);
  return longTable([...keys.map(spaced), "on a logarithmic scale, the worst first"], rows, 15);
}

function reported() {
  const found = [
    ...Object.entries(REPORT.measured).map(([name, value]) => el("div", { class: "block" }, shown(`Measured by ${name}`, isRecord(value) || Array.isArray(value) ? value : { value }))),
    ...Object.entries(REPORT.tables).map(([title, { headings, rows }]) => el("div", { class: "block" }, el("h3", {}, title), longTable(headings, rows))),
  ];
  const taken = REPORT.fast_math.taken.map((each) => [each.liberty, each.rule, each.pass, each.count]);
  if (REPORT.fast_math.granted.length) {
    found.push(el("div", { class: "block" }, el("h3", {}, "Liberties with floating point"), el("p", {}, `granted: ${REPORT.fast_math.granted.join(", ")}`),
      taken.length ? table(["liberty", "rule", "pass", "times"], taken) : null));
  }
  return found.length ? section("passes", "What passes report", found) : null;
}

function reproduce() {
  const { command, pipeline, target, versions, hashes } = DATA.reproduce;
  const line = (label, content) => content && [el("h3", {}, label), el("pre", {}, content)];
  return section("reproduce", "To do it again", line("Command", command), line("Pipeline", `${pipeline || "nothing"}  (target ${target})`),
    hashes.length ? [el("h3", {}, "Files"), table(["", "file", "size", "SHA-256"], hashes.map(([role, name, size, hash]) => [role, el("code", {}, name), bytes(size), el("code", { class: "hash" }, hash)]))] : null,
    el("h3", {}, "Versions"), pairs(Object.entries(versions)));
}
