// Which items are shown and in which order; both stand in the page's address, so that a link shows the same.

const STATE_NAMES = ["q", "class", "column", "value", "status", "review", "sort", "min", "max"];
const view = { q: "", class: "", column: "", value: "", status: "", review: "", sort: "", min: "", max: "",
  items: [], counts: {} };

function readAddress() {
  const named = new URLSearchParams(location.hash.slice(1));
  for (const name of STATE_NAMES) view[name] = named.get(name) || "";
  return named.get("item") || "";
}

function writeAddress(item = "") {
  const named = new URLSearchParams();
  for (const name of STATE_NAMES) if (view[name]) named.set(name, view[name]);
  if (item) named.set("item", item);
  const hash = named.toString();
  try { history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search); } catch { /* not here */ }
}

// Column and direction of "-image_score"; scores, numbers and texts.
function sortOf(text) {
  return text ? { column: text.replace(/^-/, ""), sign: text.startsWith("-") ? -1 : 1 } : null;
}

function numberOf(value) {
  const number = typeof value === "number" ? value : value === undefined || value === "" ? NaN : Number(value);
  return Number.isFinite(number) ? number : null;
}

function matches(item, terms, limits) {
  if (view.status && item.status !== view.status) return false;
  if (view.class && item.subject.className !== view.class) return false;
  if (view.column && view.value && String(valueOf(item, view.column) ?? "") !== view.value) return false;
  if (limits) {
    const number = numberOf(valueOf(item, limits.column));
    if (number === null || number < limits.min || number > limits.max) return false;
  }
  return terms.every((term) =>
    item.subject.words.includes(term) || item.promptWords.includes(term) || (term.length >= 8 && item.id.startsWith(term)));
}

function limitsOf() {
  const sort = sortOf(view.sort);
  const [min, max] = [numberOf(view.min || undefined), numberOf(view.max || undefined)];
  return sort && (min !== null || max !== null)
    ? { column: sort.column, min: min ?? -Infinity, max: max ?? Infinity } : null;
}

// Fills view.items, and view.counts of review states over what matches but for the state.
function select() {
  const terms = view.q.toLowerCase().split(/\s+/).filter(Boolean);
  const limits = limitsOf();
  view.counts = { approved: 0, rejected: 0, conflict: 0, pending: 0 };
  const chosen = [];
  for (const item of data.items) {
    if (!matches(item, terms, limits)) continue;
    const state = stateOf(item);
    if (state) view.counts[state] += 1;
    if (!view.review || state === view.review) chosen.push(item);
  }
  const sort = sortOf(view.sort);
  chosen.sort((a, b) => a.subject.place - b.subject.place || a.place - b.place);
  if (sort) {
    const keys = new Map(chosen.map((item) => [item, numberOf(valueOf(item, sort.column))]));
    chosen.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return (x === null) - (y === null); // what has no score comes last
      return (x - y) * sort.sign;
    });
  }
  view.items = chosen;
  return chosen;
}
