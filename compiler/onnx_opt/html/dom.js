// Elements. All text goes in as text: nothing that the data hold is ever read as markup.

const DATA = JSON.parse(document.getElementById("data").textContent);
const REPORT = DATA.report;
const text = (number) => DATA.texts[number];

function put(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

function set(node, settings) {
  for (const [name, value] of Object.entries(settings || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  return node;
}

const el = (tag, settings, ...children) => put(set(document.createElement(tag), settings), children);
const svg = (tag, settings, ...children) =>
  put(set(document.createElementNS("http://www.w3.org/2000/svg", tag), settings), children);

const button = (label, onclick, settings) => el("button", { type: "button", onclick, ...settings }, label);

function clear(node, ...children) {
  node.replaceChildren();
  return put(node, children);
}

// A table; columns of figures are set to the right.
function table(headings, rows, settings) {
  const isFigure = (cell) =>
    typeof cell === "number" || /^[-+~−]?[\d.,]+( ?([kMGTP]?i?B?|%|x|ms|s))?$/.test(String(cell));
  const right = headings.map((_, column) => {
    const cells = rows.map((row) => row[column]).filter((cell) => cell !== "" && cell !== null && cell !== "?");
    return cells.length > 0 && cells.every((cell) => !(cell instanceof Node) && isFigure(cell));
  });
  const side = (column, cell) =>
    right[column] ? { class: "figure" } : String(cell).length < 32 ? { class: "short" } : {};
  const head = el(
    "tr",
    {},
    headings.map((heading, column) => el("th", { scope: "col", ...side(column) }, heading)),
  );
  const body = rows.map((row) =>
    el(
      "tr",
      {},
      row.map((cell, column) => el("td", side(column, cell), cell)),
    ),
  );
  return el("div", { class: "scroll" }, el("table", settings, el("thead", {}, head), el("tbody", {}, body)));
}

// The first rows of a long table, and a button for the others.
function longTable(headings, rows, most = 20) {
  if (rows.length <= most + 5) return table(headings, rows);
  const holder = el("div", {}, table(headings, rows.slice(0, most)));
  holder.append(button(`Show all ${rows.length}`, () => clear(holder, table(headings, rows)), { class: "more" }));
  return holder;
}

const sections = [];

// A section of the page and its place in the navigation.
function section(id, title, ...children) {
  const made = el(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title),
    ...children,
  );
  sections.push([id, title]);
  return made;
}
