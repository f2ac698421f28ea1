// One side of a comparison: part of a graph, drawn, to be moved, zoomed, and followed from node to node.

const HEIGHT = 38;
const MOST_DRAWN = 140;
const READABLE = 0.6;

// The graph of one side with its edges.
class Model {
  constructor(side) {
    const { nodes, values } = DATA.graphs[side];
    this.side = side;
    this.values = values;
    this.nodes = nodes.map(([op, name, inputs, outputs, attributes, region], id) => ({
      id,
      op: text(op),
      name: text(name),
      inputs,
      outputs,
      attributes: text(attributes),
      region,
    }));
    this.producer = new Map();
    this.readers = new Map();
    for (const node of this.nodes) for (const value of node.outputs) if (value >= 0) this.producer.set(value, node.id);
    for (const node of this.nodes) {
      for (const value of new Set(node.inputs)) {
        if (value < 0) continue;
        if (!this.readers.has(value)) this.readers.set(value, []);
        this.readers.get(value).push(node.id);
      }
    }
  }

  value(number) {
    const [name, type, kind, isOutput] = this.values[number];
    return { name: text(name), type: text(type), kind, isOutput };
  }

  above(id) {
    const found = this.nodes[id].inputs.map((value) => this.producer.get(value));
    return [...new Set(found.filter((each) => each !== undefined))];
  }

  below(id) {
    return [...new Set(this.nodes[id].outputs.flatMap((value) => this.readers.get(value) || []))];
  }

  near(id) {
    return [...this.above(id), ...this.below(id)];
  }
}

// The usual element type goes without saying.
const short = (type) => type.replace(/^float32 /, "").replace(/ \{.*$/, "");
const cut = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

// What says most of a node beside its operator.
function essence(node) {
  const found = /(?:^|, )(?:perm|axis|axes|kernel_shape|to|equation)=(\[[^\]]*\]|[^,;]+)/.exec(node.attributes);
  return found ? ` ${cut(found[1].replace(/[[\]]/g, ""), 14)}` : "";
}

class Drawing {
  // `pick(node)` is called when a node is chosen.
  constructor(model, title, pick) {
    this.model = model;
    this.pick = pick;
    this.shown = new Set();
    this.core = new Set();
    this.stage = svg("g");
    this.canvas = svg(
      "svg",
      { class: "canvas", role: "img", "aria-label": `${title}: drawing of the graph` },
      this.stage,
    );
    this.empty = el("p", { class: "empty" });
    this.note = el("span", { class: "muted" });
    const tools = [
      button("−", () => this.zoom(1 / 1.25), { "aria-label": "zoom out" }),
      button("+", () => this.zoom(1.25), { "aria-label": "zoom in" }),
      button("fit", () => this.fit()),
    ];
    this.frame = el(
      "figure",
      { class: "drawing" },
      el("figcaption", {}, el("b", {}, title), this.note, el("span", { class: "tools" }, tools)),
      this.canvas,
      this.empty,
    );
    this.listen();
  }

  // Draw `core` with what is right around it.
  show(core, around, empty) {
    const isConstant = (id) => this.model.nodes[id].op === "Constant";
    const all = [...core, ...around];
    const worth = core.every(isConstant) ? all : all.filter((id) => !isConstant(id));
    this.core = new Set(core);
    this.left = core.length - core.filter((id) => worth.includes(id)).length;
    this.shown = new Set(worth.slice(0, MOST_DRAWN));
    this.empty.textContent = this.shown.size ? "" : empty;
    this.draw();
    this.fit();
  }

  // Draw the hidden neighbours of a node as well.
  unfold(id, side) {
    const view = this.view && { ...this.view };
    const before = this.layout.at.get(`n${id}`);
    for (const other of side === "above" ? this.model.above(id) : this.model.below(id)) {
      if (this.shown.size < MOST_DRAWN) this.shown.add(other);
    }
    this.draw();
    const after = this.layout.at.get(`n${id}`);
    this.view = view; // the node stays where it is on the screen
    this.view.x += (before.x - after.x) * view.scale;
    this.view.y += (before.y - after.y) * view.scale;
    this.move();
  }

  draw() {
    const { model } = this;
    const boxes = [];
    const edges = [];
    const ends = new Map();
    for (const id of [...this.shown].sort((a, b) => a - b)) {
      const node = model.nodes[id];
      const result = node.outputs.find((value) => value >= 0);
      const first = cut(node.op.replace(/^.*::/, ""), 24) + essence(node);
      const second = result === undefined ? "" : cut(short(model.value(result).type), 30);
      const width = Math.max(64, 7.4 * first.length + 20, 6.3 * second.length + 20);
      boxes.push({ id: `n${id}`, node, first, second, width });
      for (const value of new Set(node.inputs)) {
        if (value < 0) continue;
        const from = model.producer.get(value);
        if (this.shown.has(from)) edges.push([`n${from}`, `n${id}`]);
        else if (from === undefined && model.value(value).kind === 1) {
          ends.set(`i${value}`, model.value(value).name);
          edges.push([`i${value}`, `n${id}`]);
        }
      }
      for (const value of node.outputs) {
        if (value < 0 || !model.value(value).isOutput) continue;
        ends.set(`o${value}`, model.value(value).name);
        edges.push([`n${id}`, `o${value}`]);
      }
    }
    for (const [id, name] of ends) boxes.push({ id, end: cut(name, 24), width: 6.6 * Math.min(name.length, 24) + 24 });
    this.layout = layered(
      boxes.map(({ id, width }) => ({ id, width })),
      edges,
    );
    this.stage.replaceChildren(
      ...this.layout.routes.map((line) => this.edge(line)),
      ...boxes.map((box) => (box.node ? this.box(box) : this.end(box))),
    );
    const left = this.left ? `, ${plural(this.left, "Constant")} not drawn` : "";
    const hidden = this.shown.size >= MOST_DRAWN ? `${left}, the first ${MOST_DRAWN}` : left;
    this.note.textContent = this.core.size ? `${plural(this.core.size, "node")}${hidden}` : "";
  }

  edge({ points }) {
    const [x0, y0] = points[0];
    let d = `M${x0} ${y0 + HEIGHT / 2}`;
    let [x, y] = [x0, y0 + HEIGHT / 2];
    points.slice(1).forEach(([nx, ny], index) => {
      const last = index === points.length - 2;
      const end = last ? ny - HEIGHT / 2 - 4 : ny;
      const half = (y + end) / 2;
      d += `C${x} ${half} ${nx} ${half} ${nx} ${end}`;
      [x, y] = [nx, end];
    });
    d += `m-3.5 -5l3.5 5l3.5 -5`;
    return svg("path", { d, class: "edge" });
  }

  box({ id, node, first, second, width }) {
    const { x, y } = this.layout.at.get(id);
    const state = this.core.has(node.id) ? (this.model.side ? "new" : "gone") : node.region >= 0 ? "other" : "same";
    const kept = this.core.has(node.id) && partners(this.model.side, node.id).some((each) => each.same) ? " kept" : "";
    const op = node.op.replace(/^.*::/, "");
    const group = svg(
      "g",
      {
        class: `node ${state}${kept}`,
        transform: `translate(${x - width / 2} ${y - HEIGHT / 2})`,
        tabindex: 0,
        role: "button",
        "aria-label": `${node.op} ${node.name}`,
        "data-node": node.id,
        onclick: () => this.dragged || this.pick(this.model, node.id),
        onkeydown: (event) =>
          (event.key === "Enter" || event.key === " ") && (event.preventDefault(), this.pick(this.model, node.id)),
      },
      svg("title", {}, `${node.op}  ${node.name}\n${node.attributes}`),
      svg("rect", { width, height: HEIGHT, rx: 7 }),
      svg(
        "text",
        { x: width / 2, y: second ? 16 : 23, class: "op" },
        svg("tspan", { class: "name" }, cut(op, 24)),
        svg("tspan", { class: "essence" }, first.slice(cut(op, 24).length)),
      ),
      second && svg("text", { x: width / 2, y: 30, class: "type" }, second),
    );
    const hidden = { above: this.model.above(node.id), below: this.model.below(node.id) };
    for (const [side, found] of Object.entries(hidden)) {
      const more = found.filter((each) => !this.shown.has(each)).length;
      if (more) group.append(this.badge(node.id, side, more, width));
    }
    return group;
  }

  badge(id, side, more, width) {
    const unfold = (event) => {
      event.stopPropagation();
      if (!this.dragged) this.unfold(id, side);
    };
    const y = side === "above" ? -4 : HEIGHT + 4;
    return svg(
      "g",
      { class: "badge", transform: `translate(${width - 12} ${y})`, onclick: unfold, role: "button" },
      svg("title", {}, `show ${plural(more, "node")} ${side}`),
      svg("rect", { x: -13, y: -7, width: 26, height: 14, rx: 7 }),
      svg("text", { y: 4 }, `+${more}`),
    );
  }

  end({ id, end, width }) {
    const { x, y } = this.layout.at.get(id);
    return svg(
      "g",
      { class: "end", transform: `translate(${x - width / 2} ${y - HEIGHT / 2})` },
      svg("title", {}, `${id[0] === "i" ? "input" : "output"} ${end}`),
      svg("rect", { y: 7, width, height: HEIGHT - 14, rx: 12 }),
      svg("text", { x: width / 2, y: 23 }, end),
    );
  }

  mark(ids) {
    const wanted = new Set(ids.map(String));
    for (const node of this.stage.querySelectorAll(".node")) {
      node.classList.toggle("picked", wanted.has(node.dataset.node));
    }
  }

  // -- moving ---------------------------------------------------------------------------------------------------------

  fit() {
    const { width = 600, height = 420 } = this.canvas.getBoundingClientRect();
    const scale = Math.min((width - 24) / this.layout.width, (height - 24) / this.layout.height, 1.15);
    this.view = { scale, x: (width - this.layout.width * scale) / 2, y: (height - this.layout.height * scale) / 2 };
    if (scale < READABLE) this.view = this.onFirst(width, height);
    this.move();
  }

  // What does not fit is shown at a size that can be read, from the first node that changed.
  onFirst(width, height) {
    const places = [...this.core].map((id) => this.layout.at.get(`n${id}`)).filter(Boolean);
    const first = places.reduce((best, each) => (each.y < best.y ? each : best), places[0] || { x: 0, y: 0 });
    const within = (size, whole, wish) =>
      whole < size ? (size - whole) / 2 : Math.min(12, Math.max(size - whole - 12, wish));
    return {
      scale: READABLE,
      x: within(width, this.layout.width * READABLE, width / 2 - first.x * READABLE),
      y: within(height, this.layout.height * READABLE, 110 - first.y * READABLE),
    };
  }

  zoom(factor, x, y) {
    const box = this.canvas.getBoundingClientRect();
    const [cx, cy] = [x ?? box.width / 2, y ?? box.height / 2];
    const scale = Math.min(Math.max(this.view.scale * factor, 0.1), 4);
    const real = scale / this.view.scale;
    this.view = { scale, x: cx - (cx - this.view.x) * real, y: cy - (cy - this.view.y) * real };
    this.move();
  }

  move() {
    this.stage.setAttribute("transform", `translate(${this.view.x} ${this.view.y}) scale(${this.view.scale})`);
  }

  listen() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY, this.view.x, this.view.y];
      this.dragged = false;
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from || !(event.buttons & 1)) return;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      if (!this.dragged && Math.hypot(dx, dy) < 4) return;
      if (!this.dragged) this.canvas.setPointerCapture(event.pointerId);
      this.dragged = true;
      Object.assign(this.view, { x: from[2] + dx, y: from[3] + dy });
      this.move();
    });
    this.canvas.addEventListener("pointerup", () => (from = null));
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        const box = this.canvas.getBoundingClientRect();
        this.zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
      },
      { passive: false },
    );
  }
}
