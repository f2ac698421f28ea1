// The other parts of the report.

// Why rules that matched did nothing.
function declined() {
  if (!DATA.declines.length) return null;
  const rows = DATA.declines.map(([reason, rule, pass, times]) => [reason, el("code", {}, rule), pass, times]);
  return section(
    "declined",
    "What was left alone",
    el("p", { class: "lead" }, "Where a rule matched and did nothing, and why."),
    longTable(["reason", "rule", "pass", "times"], rows, 8),
  );
}

// -- operators, time, memory -----------------------------------------------------------------------------------------

function pairOfBars(before, after, most) {
  const bar = (kind, amount) =>
    el("i", { class: `bar ${kind}`, style: { width: `${most ? (100 * amount) / most : 0}%` } });
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
  const cells = rows.map(([name, one, other]) => [
    el("code", {}, name),
    pairOfBars(one, other, most),
    one,
    other,
    one === other ? "" : `${other > one ? "+" : "−"}${Math.abs(other - one)}`,
    cost(name, 1, count),
    cost(name, 2, bytes),
  ]);
  return section(
    "operators",
    "Operators",
    longTable(["operator", legendOfBars(), "before", "after", "change", "FLOPs", "bytes read and written"], cells),
  );
}

const legendOfBars = () =>
  el(
    "span",
    { class: "legend" },
    el("i", { class: "bar before" }),
    "before ",
    el("i", { class: "bar after" }),
    "after",
  );

function times() {
  const rows = REPORT.passes;
  const most = Math.max(...rows.map((run) => run.seconds), 1e-9);
  const bar = (amount, all) =>
    el("div", { class: "bars" }, el("i", { class: "bar after", style: { width: `${(100 * amount) / all}%` } }));
  const passes = rows.map((run) => [
    el("code", {}, run.name),
    bar(run.seconds, most),
    seconds(run.seconds),
    run.rewrites,
    run.nodes,
  ]);
  const phases = Object.entries(REPORT.seconds);
  const whole = phases.reduce((sum, [, amount]) => sum + amount, 0) || 1;
  return section(
    "time",
    "Time",
    el(
      "p",
      { class: "lead" },
      phases.map(([name, amount], index) => [index ? ", " : "", `${name} `, el("b", {}, seconds(amount))]),
      phases.length > 1 ? `: ${seconds(whole)} in all.` : ".",
    ),
    rows.length ? table(["pass", "", "time", "rewrites", "nodes after it"], passes) : null,
  );
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
  const grid = [0, 0.5, 1].map((share) => [
    svg("path", { class: "grid", d: `M0 ${y(share * top)}H${width}` }),
    svg("text", { class: "tick", x: -8, y: y(share * top) + 4, "text-anchor": "end" }, bytes(Math.round(share * top))),
  ]);
  const plot = svg(
    "svg",
    {
      viewBox: `${-left} 0 ${width + left + 4} ${height + 24}`,
      class: "plot",
      role: "img",
      "aria-label": "activation memory over one run, before and after",
    },
    grid,
    svg("path", { class: "area after", d: line(after.live, true) }),
    svg("path", { class: "line before", d: line(before.live) }),
    svg("text", { class: "tick", x: 0, y: height + 18 }, "first node"),
    svg("text", { class: "tick", x: width, y: height + 18, "text-anchor": "end" }, "last node"),
  );
  const said = (what, { peak, at }) =>
    el("li", {}, `${what}: at most `, el("b", {}, bytes(peak)), at && [" while ", el("code", {}, at), " runs"]);
  const unknown = Math.max(before.unknown, after.unknown);
  return section(
    "memory",
    "Memory over one run",
    el(
      "div",
      { class: "panel" },
      plot,
      el(
        "p",
        { class: "legend muted" },
        el("i", { class: "stroke" }),
        "before ",
        el("i", { class: "bar after" }),
        "after",
      ),
    ),
    el("ul", { class: "plain" }, said("Before", before), said("After", after)),
    el(
      "p",
      { class: "muted" },
      "What is held while each node runs: values from where they are computed to where they are last read, inputs and " +
        "outputs to the end, no weights.",
      sizesText(),
      unknown ? ` ${plural(unknown, "value")} of unknown rank not counted.` : "",
    ),
  );
}

function sizesText() {
  const sizes = Object.entries(DATA.sizes).map(([name, size]) => `${name} = ${size}`);
  if (sizes.length) return ` At the largest sizes of the proof: ${sizes.join(", ")}.`;
  return REPORT.before.symbolic ? " Unknown sizes are assumed: 1 for a batch, 64 for others." : "";
}

// -- proof -----------------------------------------------------------------------------------------------------------

const DECADES = ["≤ 10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "0.01", "0.1", "1", "10", "> 10"];

function distribution(output) {
  const found = output.distribution || [];
  const counted = found.reduce((sum, each) => sum + each, 0);
  if (!counted) return output.bit_equal ? el("span", { class: "good" }, "equal to the bit") : "";
  const bins = [Math.max(output.elements - output.mismatches, 0), ...found];
  const most = Math.log1p(Math.max(...bins));
  const labels = ["equal", ...DECADES];
  const share = (amount) => `${plural(amount, "element")} (${small((100 * amount) / output.elements)}%)`;
  const what = (index) => (index ? `error ${labels[index]} of the tolerance` : "equal");
  return el(
    "div",
    { class: "distribution" },
    bins.map((amount, index) =>
      el(
        "div",
        { title: `${share(amount)}: ${what(index)}` },
        el(
          "span",
          { class: "holder" },
          el("i", {
            class: index > 7 ? "bar gone" : "bar after",
            style: { height: `${most ? (100 * Math.log1p(amount)) / most : 0}%` },
          }),
        ),
        el("small", {}, labels[index]),
      ),
    ),
  );
}

function proof() {
  const found = REPORT.validation;
  const parts = [];
  if (found.outputs?.length) {
    const rows = found.outputs.map((output) => [
      el("code", {}, output.name),
      el("span", { class: `pill ${output.status}` }, output.status),
      distribution(output),
      small(output.max_abs),
      small(output.max_rel),
      small(output.worst),
      output.note || "",
    ]);
    const named = [
      "output",
      "",
      "errors as multiples of the tolerance (columns: logarithm of how many elements)",
      "max abs",
      "max rel",
      "of the tolerance",
      "",
    ];
    parts.push(
      longTable(
        named.slice(0, rows.some((row) => row[6]) ? 7 : 6),
        rows.map((row) => (rows.some((each) => each[6]) ? row : row.slice(0, 6))),
        12,
      ),
    );
  }
  const half = Object.entries(found.half || {});
  if (half.length) parts.push(el("h3", {}, "Lower precision"), pairs(half));
  const sizes = Object.entries(found.sizes || {});
  if (sizes.length)
    parts.push(
      el(
        "p",
        {},
        "Tried at ",
        sizes.map(([name, list], index) => [index ? "; " : "", el("code", {}, name), ` = ${list.join(", ")}`]),
        ".",
      ),
    );
  for (const [title, list] of [
    [
      "Taken back because it was wrong",
      REPORT.undone.map((fault) => `${fault.rule} (${fault.pass_name}) at ${fault.node}: ${fault.reason}`),
    ],
    ["Warnings", REPORT.warnings],
    ["Notes", REPORT.notes],
  ]) {
    if (list.length)
      parts.push(
        el("h3", {}, title),
        el(
          "ul",
          {},
          list.map((line) => el("li", {}, line)),
        ),
      );
  }
  return section(
    "proof",
    "Proof",
    el(
      "p",
      { class: "lead" },
      el("span", { class: `pill ${REPORT.status}` }, REPORT.status),
      " ",
      found.reason || "Validation was not asked for.",
    ),
    parts,
  );
}

function reproduce() {
  const { command, pipeline, target, versions, hashes } = DATA.reproduce;
  const line = (label, content) => content && [el("h3", {}, label), el("pre", {}, content)];
  return section(
    "reproduce",
    "To do it again",
    line("Command", command),
    line("Pipeline", `${pipeline || "nothing"}  (target ${target})`),
    hashes.length
      ? [
          el("h3", {}, "Files"),
          table(
            ["", "file", "size", "SHA-256"],
            hashes.map(([role, name, size, hash]) => [
              role,
              el("code", {}, name),
              bytes(size),
              el("code", { class: "hash" }, hash),
            ]),
          ),
        ]
      : null,
    el("h3", {}, "Versions"),
    pairs(Object.entries(versions)),
  );
}
