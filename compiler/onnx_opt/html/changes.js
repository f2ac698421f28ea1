// The changed regions, alike ones together, each drawn before and after when it is looked at.

const MODELS = [new Model(0), new Model(1)];
const KIN = [new Map(), new Map()]; // node -> what it became, and what it was
const TWINS = new Set(DATA.twins.map(([old, now]) => `${old} ${now}`));

for (const [now, olds] of [...DATA.origins, ...DATA.twins.map(([old, now]) => [now, [old]])]) {
  for (const old of olds) {
    for (const [side, one, other] of [
      [0, old, now],
      [1, now, old],
    ]) {
      if (!KIN[side].has(one)) KIN[side].set(one, new Set());
      KIN[side].get(one).add(other);
    }
  }
}

// What a node became (of the original), or what it was (of the result).
function partners(side, id) {
  return [...(KIN[side].get(id) || [])].map((other) => ({
    id: other,
    same: TWINS.has(side ? `${other} ${id}` : `${id} ${other}`),
  }));
}

const REGIONS = DATA.regions.map(([title, before, after, where], id) => ({
  id,
  title: text(title),
  sides: [before, after],
  where: text(where),
}));

const changes = {
  kinds: [...(Map.groupBy?.(REGIONS, (region) => region.title) ?? groupBy(REGIONS, (region) => region.title))],
  at: 0, // which of its kind

  build() {
    const weight = ([, regions]) => regions.length * Math.min(size(regions[0]), 12);
    this.kinds.sort((a, b) => weight(b) - weight(a));
    this.drawings = [
      new Drawing(MODELS[0], "Before", (...given) => this.inspect(...given)),
      new Drawing(MODELS[1], "After", (...given) => this.inspect(...given)),
    ];
    this.list = el("div", { class: "kinds", role: "listbox", "aria-label": "kinds of change" });
    this.heading = el("div", { class: "region" });
    this.details = el("div", { class: "details", "aria-live": "polite" });
    const legend = el(
      "p",
      { class: "legend muted" },
      ["gone", "new", "kept", "same", "other"].map((state, index) =>
        el(
          "span",
          {},
          el("i", { class: `key ${state}` }),
          ["gone", "new", "changed", "as it was", "in another region"][index],
        ),
      ),
      el("span", {}, "Drag to move, Ctrl + wheel to zoom. +n shows hidden neighbours. Choose a node to see all of it."),
    );
    const parts = this.kinds.length
      ? [
          el(
            "div",
            { class: "changes" },
            this.list,
            el(
              "div",
              { class: "pair-holder" },
              this.heading,
              el(
                "div",
                { class: "pair" },
                this.drawings.map((drawing) => drawing.frame),
              ),
              legend,
              this.details,
            ),
          ),
        ]
      : [el("p", { class: "muted" }, "No node changed.")];
    const lead = this.kinds.length
      ? el(
          "p",
          { class: "lead" },
          `${plural(REGIONS.length, "region")} of the graph changed, in ${plural(
            this.kinds.length,
            "way",
          )}. What concerns most nodes comes first.`,
        )
      : null;
    return section("changes", "What changed", lead, parts);
  },

  start() {
    if (!this.kinds.length) return;
    this.fill(60);
    this.open(this.kinds[0][1][0]);
    let width = this.list.clientWidth;
    new ResizeObserver(() => {
      if (width === this.drawings[0].canvas.clientWidth) return;
      width = this.drawings[0].canvas.clientWidth;
      this.drawings.forEach((drawing) => drawing.layout && drawing.fit());
    }).observe(this.drawings[0].canvas);
  },

  fill(most) {
    clear(
      this.list,
      this.kinds
        .slice(0, most)
        .map(([title, regions]) =>
          el(
            "button",
            { type: "button", role: "option", class: "kind", onclick: () => this.open(regions[0]) },
            el("span", { class: "times" }, `${regions.length}×`),
            titled(title),
          ),
        ),
    );
    if (this.kinds.length > most) {
      this.list.append(button(`${this.kinds.length - most} more kinds`, () => this.fill(Infinity), { class: "more" }));
    }
  },

  // Show a region of the graph.
  open(region) {
    const number = this.kinds.findIndex(([title]) => title === region.title);
    if (number >= 60 && this.list.children.length <= 61) this.fill(Infinity);
    const [, alike] = this.kinds[number];
    const at = alike.indexOf(region);
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === number)));
    const step = (by) =>
      button(by < 0 ? "‹" : "›", () => this.open(alike[(at + by + alike.length) % alike.length]), {
        "aria-label": by < 0 ? "previous" : "next",
        disabled: alike.length < 2,
      });
    clear(
      this.heading,
      el("h3", {}, titled(region.title)),
      el("span", { class: "steps" }, step(-1), `${at + 1} of ${alike.length}`, step(1)),
      region.where && el("code", { class: "where" }, region.where),
    );
    clear(this.details);
    this.draw(region.sides);
  },

  draw(cores) {
    cores.forEach((core, side) => {
      const other = cores[1 - side].flatMap((id) => partners(1 - side, id).map((each) => each.id));
      const own = core.flatMap((id) => MODELS[side].near(id));
      // What surrounds one side is drawn on the other as well, as far as it is there.
      const across = cores[1 - side]
        .flatMap((id) => MODELS[1 - side].near(id))
        .flatMap((id) =>
          partners(1 - side, id)
            .filter((each) => each.same)
            .map((each) => each.id),
        );
      const around = [...new Set([...own, ...other, ...across])].filter((id) => !core.includes(id));
      const empty = side ? "Nothing is left of it." : "There was nothing here.";
      this.drawings[side].show(core, around, empty);
    });
  },

  // Show both graphs around a node.
  follow(model, id) {
    const cores = [[], []];
    cores[model.side] = [id];
    cores[1 - model.side] = partners(model.side, id).map((each) => each.id);
    clear(this.heading, el("h3", {}, "Around ", el("code", {}, model.nodes[id].name || model.nodes[id].op)));
    this.draw(cores);
    this.inspect(model, id);
  },

  // Tell all about a node.
  inspect(model, id) {
    const node = model.nodes[id];
    const kin = partners(model.side, id).map((each) => each.id);
    this.drawings[model.side].mark([id]);
    this.drawings[1 - model.side].mark(kin);
    const link = (side, other) =>
      button(
        `${MODELS[side].nodes[other].op} ${MODELS[side].nodes[other].name}`,
        () => this.follow(MODELS[side], other),
        { class: "link" },
      );
    const values = (numbers, next) =>
      numbers
        .filter((value) => value >= 0)
        .map((number) => {
          const value = model.value(number);
          return el(
            "li",
            {},
            el("code", {}, value.name),
            " ",
            el("span", { class: "type" }, value.type),
            " ",
            next(number)
              .slice(0, 12)
              .map((other) => link(model.side, other)),
          );
        });
    const above = (value) => (model.producer.has(value) ? [model.producer.get(value)] : []);
    const below = (value) => model.readers.get(value) || [];
    const told = rewritesAt(model.side ? kin : [id]);
    const row = (label, ...content) => (content.flat().length ? [el("dt", {}, label), el("dd", {}, content)] : []);
    clear(
      this.details,
      el(
        "h4",
        {},
        node.op,
        " ",
        el("code", {}, node.name),
        " ",
        button("Follow", () => this.follow(model, id), { class: "small" }),
      ),
      el(
        "dl",
        {},
        row("attributes", node.attributes ? [el("code", {}, node.attributes)] : []),
        row("reads", el("ul", {}, values(node.inputs, above))),
        row("gives", el("ul", {}, values(node.outputs, below))),
        row(
          model.side ? "made from" : "became",
          kin.slice(0, 24).map((other) => link(1 - model.side, other)),
          kin.length ? [] : model.side ? "nothing of the original" : "nothing: it is gone",
        ),
        row(
          "rewrites",
          told
            .slice(0, 12)
            .map((rewrite) =>
              button(`${rewrite.rule} (${rewrite.pass})`, () => rewrites.choose(rewrite), { class: "link" }),
            ),
        ),
      ),
    );
  },
};

// The nodes of a region, where Constants hardly count: they are weights in another form.
function size(region) {
  const weigh = (side) => (id) => (MODELS[side].nodes[id].op === "Constant" ? 0.01 : 1);
  const sides = region.sides.map((ids, side) => ids.map(weigh(side)));
  return sides.flat().reduce((sum, each) => sum + each, 0);
}

function groupBy(items, key) {
  const found = new Map();
  for (const item of items) found.set(key(item), [...(found.get(key(item)) || []), item]);
  return found;
}

// The title of a kind of change, with its arrow set apart.
function titled(title) {
  const parts = title.split(" → ");
  return el(
    "span",
    { class: "change" },
    parts.map((part, index) => [index ? el("b", { class: "arrow" }, " → ") : null, part]),
  );
}
