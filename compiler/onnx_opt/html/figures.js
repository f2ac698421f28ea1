// Figures as people read them.

function scaled(number, base, units) {
  let unit = 0;
  while (Math.abs(number) >= base && unit < units.length - 1) {
    number /= base;
    unit += 1;
  }
  const digits = unit === 0 && Number.isInteger(number) ? String(number) : String(Number(number.toPrecision(3)));
  return units[unit] ? `${digits} ${units[unit]}` : digits;
}

const bytes = (number) => scaled(number, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
const count = (number) => scaled(number, 1000, ["", "k", "M", "G", "T", "P"]);
const inUnit = { B: bytes, n: count, "": (number) => number.toLocaleString("en") };

function change(before, after) {
  if (before === after) return "unchanged";
  if (!before) return `+${after}`;
  const percent = (100 * (after - before)) / before;
  const digits = Math.abs(percent) < 10 ? 1 : 0;
  const shown = percent.toFixed(digits).replace("-", "−");
  if (Number(percent.toFixed(digits)) === 0) return after > before ? `+${after - before}` : `−${before - after}`;
  return percent > 0 ? `+${shown}%` : `${shown}%`;
}

function seconds(number) {
  return number < 0.0995 ? `${Number((1000 * number).toPrecision(2))} ms` : `${Number(number.toPrecision(3))} s`;
}

function small(number) {
  if (typeof number !== "number") return String(number);
  if (number === 0 || Number.isInteger(number)) return number.toLocaleString("en");
  return Math.abs(number) >= 0.001 && Math.abs(number) < 1e5
    ? String(Number(number.toPrecision(3)))
    : number.toExponential(1);
}

const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
