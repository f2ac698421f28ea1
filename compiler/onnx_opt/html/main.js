// The page as a whole.

const NEUTRAL = new Set(["Parameters"]);

function tile([title, before, after, unit, what]) {
  const show = inUnit[unit];
  const less = after < before;
  const feel =
    before === after
      ? "muted"
      : NEUTRAL.has(title)
        ? ""
        : Math.abs(after - before) / (before || 1) < 0.005
          ? ""
          : less
            ? "good"
            : "more-than-before";
  const most = Math.max(before, after);
  return el(
    "div",
    { class: "tile", title: what || null },
    el("span", { class: "label" }, title),
    el("span", { class: "value" }, show(after)),
    el(
      "span",
      { class: `delta ${feel}` },
      change(before, after),
      before !== after && el("span", { class: "muted" }, ` from ${show(before)}`),
    ),
    most > 0 && pairOfBars(before, after, most),
  );
}

function whatWasDone() {
  const passes = [...new Set(REWRITES.map((rewrite) => rewrite.pass))];
  const made = passes.length
    ? `${plural(REWRITES.length, "rewrite")} by ${passes.join(", ")}`
    : "Nothing was rewritten";
  return `${made}, for target ${REPORT.target}.`;
}

// What is known of the result beside the original.
function verdict() {
  const reason = REPORT.validation.reason;
  return `Held against the original: ${reason}${reason.endsWith(".") ? "" : "."}`;
}

function header() {
  const name = DATA.model.split(/[\\/]/).pop();
  document.title = `${name}: onnx-opt report`;
  const notes = [...REPORT.undone.map((fault) => `undone: ${fault.rule} at ${fault.node}`), ...REPORT.warnings];
  return el(
    "header",
    {},
    el(
      "div",
      { class: "top" },
      el("span", { class: "brand" }, "onnx-opt"),
      el("h1", {}, name),
      el("span", { class: `pill ${REPORT.status}` }, REPORT.status),
    ),
    el(
      "p",
      { class: "reason" },
      whatWasDone(),
      " ",
      REPORT.validation.reason ? verdict() : "It was not held against the original.",
    ),
    notes.length
      ? el(
          "ul",
          { class: "notes" },
          notes.slice(0, 4).map((note) => el("li", {}, note)),
        )
      : null,
  );
}

function overview() {
  const figures = DATA.figures.filter(([title, before, after], index) => index < 6 || before !== after);
  return section(
    "overview",
    "Overview",
    el("div", { class: "tiles" }, figures.map(tile)),
    el("p", { class: "muted sizes" }, sizesText().trim()),
  );
}

const parts = [
  overview(),
  changes.build(),
  rewrites.build(),
  declined(),
  operators(),
  memory(),
  times(),
  proof(),
  reported(),
  reproduce(),
];
const nav = el(
  "nav",
  { "aria-label": "sections" },
  sections.map(([id, title]) => el("a", { href: `#${id}` }, title)),
);
document.body.append(header(), nav, el("main", {}, parts.filter(Boolean)));
changes.start();
rewrites.start();
