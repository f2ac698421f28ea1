// Every rewrite, searchable. Only the rows that can be seen exist.

const REWRITES = DATA.rewrites.map(([rule, pass, where, origins, more, results, region], id) => ({
  id,
  region,
  more,
  rule: text(rule),
  pass: text(pass),
  where: text(where),
  origins: origins.map(text),
  results: results.map(text),
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
    this.input = el("input", {
      type: "search",
      placeholder: "Search rule, pass, node or value",
      "aria-label": "search the rewrites",
      oninput: () => this.search(),
    });
    this.total = el("span", { class: "muted", "aria-live": "polite" });
    this.chips = el(
      "div",
      { class: "chips" },
      rules.slice(0, 14).map(([rule, found]) =>
        button([rule, el("b", {}, found.length)], () => this.ask(this.input.value === rule ? "" : rule), {
          "data-rule": rule,
        }),
      ),
    );
    this.space = el("div", { class: "space" });
    this.view = el("div", { class: "rows", onscroll: () => this.paint() }, this.space);
    this.details = el("div", { class: "details", "aria-live": "polite" });
    const head = el(
      "div",
      { class: "row head", "aria-hidden": "true" },
      ["#", "Rule", "Pass", "Place"].map((name) => el("span", {}, name)),
    );
    if (!REWRITES.length)
      return section("rewrites", "Every rewrite", el("p", { class: "muted" }, "Nothing was rewritten."));
    return section(
      "rewrites",
      "Every rewrite",
      this.chips,
      el("div", { class: "searching" }, this.input, this.total),
      el("div", { class: "panel list" }, head, this.view),
      this.details,
    );
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
      rewrite.words ||= [rewrite.rule, rewrite.pass, rewrite.where, ...rewrite.origins, ...rewrite.results]
        .join("\n")
        .toLowerCase();
      return words.every((word) => rewrite.words.includes(word));
    });
    for (const chip of this.chips.children)
      chip.setAttribute("aria-pressed", String(chip.dataset.rule === this.input.value));
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
      el(
        "button",
        {
          type: "button",
          class: "row",
          style: { top: `${(first + index) * ROW}px` },
          title: rewrite.where,
          "aria-pressed": String(rewrite === this.chosen),
          "data-rewrite": rewrite.id,
          onclick: () => this.choose(rewrite, true),
        },
        el("span", { class: "muted" }, rewrite.id + 1),
        el("span", { class: "rule" }, rewrite.rule),
        el("span", {}, rewrite.pass),
        el("code", {}, rewrite.where),
      ),
    );
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
    const names = (list, more) =>
      el(
        "ul",
        {},
        list.map((name) => el("li", {}, el("code", {}, name))),
        more ? el("li", {}, "and more") : null,
      );
    const region = REGIONS[rewrite.region];
    clear(
      this.details,
      el(
        "h4",
        {},
        rewrite.rule,
        " ",
        el("span", { class: "muted" }, `rewrite ${rewrite.id + 1}, by ${rewrite.pass}`),
        " ",
        region &&
          button(
            "Show the drawing",
            () => {
              changes.open(region);
              document.getElementById("changes").scrollIntoView({ behavior: "smooth" });
            },
            { class: "small" },
          ),
      ),
      el(
        "dl",
        {},
        rewrite.where && [el("dt", {}, "place"), el("dd", {}, el("code", {}, rewrite.where))],
        rewrite.origins.length && [el("dt", {}, "original nodes"), el("dd", {}, names(rewrite.origins, rewrite.more))],
        rewrite.results.length && [el("dt", {}, "values it computes"), el("dd", {}, names(rewrite.results))],
      ),
    );
  },
};
