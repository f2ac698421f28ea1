// What passes measured and tabulated: shown by its form, so that a new pass needs nothing here.

const spaced = (name) => name.replaceAll("_", " ");

function said(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return value;
  return name.endsWith("_bytes") ? bytes(value) : small(value);
}

function pairs(entries) {
  return el(
    "dl",
    { class: "pairs" },
    entries
      .filter(([, value]) => value !== "" && value !== null)
      .map(([name, value]) => el("div", {}, el("dt", {}, spaced(name)), el("dd", {}, said(name, value)))),
  );
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

// Parts of the report with a place of their own in the page; any other is shown by its form.
const PLACED = new Set([
  "before",
  "after",
  "rewrites",
  "passes",
  "undone",
  "fast_math",
  "tables",
  "warnings",
  "notes",
  "validation",
  "measured",
  "seconds",
]);

const LOSSES = ["loss", "error", "value"];

// Records as a table; where they have an error or a loss, the worst first, with a bar.
function records(list) {
  const keys = [...new Set(list.flatMap(Object.keys))].filter((key) =>
    list.some((each) => each[key] !== "" && each[key] !== undefined),
  );
  const by = LOSSES.find(
    (key) => keys.includes(key) && list.some((each) => typeof each[key] === "number" && each[key] > 0),
  );
  const cell = (value) =>
    value === undefined || value === null
      ? ""
      : typeof value === "number"
        ? small(value)
        : isRecord(value) || Array.isArray(value)
          ? JSON.stringify(value)
          : String(value);
  if (!by || list.length < 4)
    return longTable(
      keys.map(spaced),
      list.map((each) => keys.map((key) => cell(each[key]))),
    );
  const amount = (each) => (typeof each[by] === "number" ? each[by] : Infinity);
  const sorted = [...list].sort((a, b) => (amount(a) < amount(b) ? 1 : amount(a) > amount(b) ? -1 : 0));
  const real = sorted.map(amount).filter((each) => Number.isFinite(each) && each > 0);
  const [low, high] = [Math.log(real.at(-1)) - 0.5, Math.log(real[0])];
  const width = (each) =>
    amount(each) === Infinity ? 100 : amount(each) > 0 ? (100 * (Math.log(amount(each)) - low)) / (high - low || 1) : 0;
  const rows = sorted.map((each) => [
    ...keys.map((key) => cell(each[key])),
    el(
      "div",
      { class: "bars" },
      el("i", { class: `bar ${amount(each) === Infinity ? "gone" : "after"}`, style: { width: `${width(each)}%` } }),
    ),
  ]);
  return longTable([...keys.map(spaced), "on a logarithmic scale, the worst first"], rows, 15);
}

function reported() {
  const found = [
    ...Object.entries(REPORT.measured).map(([name, value]) =>
      el(
        "div",
        { class: "block" },
        shown(`Measured by ${name}`, isRecord(value) || Array.isArray(value) ? value : { value }),
      ),
    ),
    ...Object.entries(REPORT)
      .filter(
        ([name, value]) =>
          !PLACED.has(name) && value !== null && typeof value === "object" && Object.keys(value).length,
      )
      .map(([name, value]) => el("div", { class: "block" }, shown(name, value))),
    ...Object.entries(REPORT.tables).map(([title, { headings, rows }]) =>
      el("div", { class: "block" }, el("h3", {}, title), longTable(headings, rows)),
    ),
  ];
  const taken = REPORT.fast_math.taken.map((each) => [each.liberty, each.rule, each.pass, each.count]);
  if (REPORT.fast_math.granted.length) {
    found.push(
      el(
        "div",
        { class: "block" },
        el("h3", {}, "Liberties with floating point"),
        el("p", {}, `granted: ${REPORT.fast_math.granted.join(", ")}`),
        taken.length ? table(["liberty", "rule", "pass", "times"], taken) : null,
      ),
    );
  }
  return found.length ? section("passes", "What passes report", found) : null;
}
