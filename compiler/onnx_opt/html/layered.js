// A layered drawing of a small acyclic graph: layers by longest path, few crossings by barycenters, straight edges by
// least squares. Nodes are {id, width}; edges are [from, to]; the answer has a place for each and the bends of edges.

const LAYER = 62;
const GAP = 22;

function layered(nodes, edges) {
  const known = new Map(nodes.map((node) => [node.id, { ...node, up: [], down: [] }]));
  const wanted = [];
  for (const [from, to] of edges) {
    if (known.has(from) && known.has(to) && from !== to) wanted.push([known.get(from), known.get(to)]);
  }
  rank([...known.values()], wanted);
  const layers = [];
  for (const node of known.values()) (layers[node.layer] ||= []).push(node);
  const routes = wanted.map(([from, to]) => route(from, to, layers));
  order(layers);
  place(layers);
  const all = layers.flat();
  const left = all.length ? Math.min(...all.map((node) => node.x - node.width / 2)) : 0;
  const right = all.length ? Math.max(...all.map((node) => node.x + node.width / 2)) : 1;
  return {
    width: right - left,
    height: Math.max(layers.length, 1) * LAYER,
    at: new Map([...known].map(([id, node]) => [id, { x: node.x - left, y: (node.layer + 0.5) * LAYER }])),
    routes: routes.map((bends, number) => ({
      from: wanted[number][0].id,
      to: wanted[number][1].id,
      points: bends.map((node) => [node.x - left, (node.layer + 0.5) * LAYER]),
    })),
  };
}

// The layer of each node: below all that it reads; what reads nothing right above its first reader.
function rank(nodes, edges) {
  const readers = new Map(nodes.map((node) => [node, []]));
  const waits = new Map(nodes.map((node) => [node, 0]));
  for (const [from, to] of edges) {
    readers.get(from).push(to);
    waits.set(to, waits.get(to) + 1);
  }
  const sources = nodes.filter((node) => waits.get(node) === 0);
  const ready = [...sources];
  for (const node of nodes) node.layer = 0;
  while (ready.length) {
    const node = ready.pop();
    for (const reader of readers.get(node)) {
      reader.layer = Math.max(reader.layer, node.layer + 1);
      waits.set(reader, waits.get(reader) - 1);
      if (waits.get(reader) === 0) ready.push(reader);
    }
  }
  for (const node of sources) {
    const first = Math.min(...readers.get(node).map((reader) => reader.layer));
    if (Number.isFinite(first)) node.layer = first - 1;
  }
}

// An edge as a chain of neighbours, with a bend in each layer that it crosses.
function route(from, to, layers) {
  const chain = [from];
  for (let layer = from.layer + 1; layer < to.layer; layer += 1) {
    const bend = { width: 6, layer, up: [], down: [], bend: true };
    (layers[layer] ||= []).push(bend);
    chain.push(bend);
  }
  chain.push(to);
  for (let i = 1; i < chain.length; i += 1) {
    chain[i - 1].down.push(chain[i]);
    chain[i].up.push(chain[i - 1]);
  }
  return chain;
}

function order(layers) {
  const number = () => layers.forEach((layer) => layer.forEach((node, index) => (node.index = index)));
  const keep = () => layers.map((layer) => [...layer]);
  number();
  let best = keep();
  let fewest = crossings(layers);
  for (let sweep = 0; sweep < 12 && fewest > 0; sweep += 1) {
    const down = sweep % 2 === 0;
    const walk = down ? layers : [...layers].reverse();
    for (const layer of walk) {
      const mean = new Map(
        layer.map((node) => {
          const near = down ? node.up : node.down;
          return [node, near.length ? near.reduce((sum, each) => sum + each.index, 0) / near.length : node.index];
        }),
      );
      layer.sort((a, b) => mean.get(a) - mean.get(b));
      layer.forEach((node, index) => (node.index = index));
    }
    const now = crossings(layers);
    if (now < fewest) [best, fewest] = [keep(), now];
  }
  best.forEach((layer, index) => (layers[index] = layer));
  number();
}

function crossings(layers) {
  let found = 0;
  for (const layer of layers) {
    const lines = layer.flatMap((node) => node.down.map((other) => [node.index, other.index]));
    for (let i = 0; i < lines.length; i += 1) {
      for (let j = i + 1; j < lines.length; j += 1) {
        if ((lines[i][0] - lines[j][0]) * (lines[i][1] - lines[j][1]) < 0) found += 1;
      }
    }
  }
  return found;
}

// Each node as near to the mean of its neighbours as its own neighbours in the layer allow.
function place(layers) {
  for (const layer of layers) {
    let x = 0;
    for (const node of layer) {
      node.x = x + node.width / 2;
      x += node.width + GAP;
    }
    for (const node of layer) node.x -= x / 2;
  }
  const up = (node) => node.up;
  const down = (node) => node.down;
  const both = (node) => [...node.up, ...node.down];
  const sweep = (walk, neighbours) => {
    for (const layer of walk) {
      const wish = layer.map((node) => {
        const near = neighbours(node);
        return near.length ? near.reduce((sum, each) => sum + each.x, 0) / near.length : node.x;
      });
      settle(layer, wish);
    }
  };
  const reversed = [...layers].reverse();
  for (let round = 0; round < 10; round += 1) {
    sweep(layers, up);
    sweep(reversed, down);
  }
  for (let round = 0; round < 4; round += 1) sweep(round % 2 ? reversed : layers, both);
  sweep(layers, up); // what is one below the other ends as a straight line
}

// Least squares under a fixed order and least distances (pool adjacent violators).
function settle(layer, wish) {
  const pools = [];
  let offset = 0;
  layer.forEach((node, index) => {
    if (index) offset += (layer[index - 1].width + node.width) / 2 + GAP;
    let pool = {
      sum: (wish[index] - offset) * (node.bend ? 3 : 1),
      weight: node.bend ? 3 : 1,
      members: [[node, offset]],
    };
    while (pools.length && pools.at(-1).sum / pools.at(-1).weight > pool.sum / pool.weight) {
      const last = pools.pop();
      pool = {
        sum: last.sum + pool.sum,
        weight: last.weight + pool.weight,
        members: [...last.members, ...pool.members],
      };
    }
    pools.push(pool);
  });
  for (const pool of pools) for (const [node, shift] of pool.members) node.x = pool.sum / pool.weight + shift;
}
