// The page's controls, the keyboard, and what happens when a verdict comes in.

const cursor = {
  item: null,
  set(item) {
    const before = this.item;
    this.item = item;
    for (const one of [before, item]) if (one) showItem(one);
  },
  focus() {
    if (this.item?.shown === undefined) return;
    revealItem(this.item.shown);
    cardOf(this.item)?.querySelector(".tile").focus({ preventScroll: true });
  },
};

const cardOf = (item) => document.querySelector(`.card[data-item="${CSS.escape(item.id)}"]`);
const counted = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

function showItem(item) {
  const card = cardOf(item);
  if (card) showState(card, item);
}

function refresh() {
  select();
  if (viewer.open) findCurrent();
  const subjects = new Set(view.items.map((item) => item.subject)).size;
  byId("showing").textContent = `Showing ${counted(view.items.length, "item")} of ${counted(subjects, "subject")}`;
  byId("empty").hidden = view.items.length > 0;
  byId("empty").textContent = data.items.length ? "Nothing matches. Try fewer words." : "This job has no items yet.";
  layOut();
  showCounts();
}

function applyFilter() {
  writeAddress();
  refresh();
  if (byId("subjects").getBoundingClientRect().top < 0) byId("subjects").scrollIntoView();
}

function showCounts() {
  for (const button of byId("reviews").querySelectorAll("button")) {
    const { review: state } = button.dataset;
    button.setAttribute("aria-pressed", String(view.review === state));
    if (state) button.querySelector("b").textContent = view.counts[state].toLocaleString("en");
    if (state === "conflict") button.hidden = !view.counts.conflict && view.review !== "conflict";
  }
  for (const button of byId("statuses").children) {
    button.setAttribute("aria-pressed", String(view.status === button.dataset.status));
  }
  const decided = local.size;
  byId("hand-out").hidden = !decided;
  byId("hand-out").textContent = `Hand out review.csv (${decided.toLocaleString("en")})`;
  byId("undo-all").disabled = !undoStack.length;
  byId("storage").textContent = review.storage;
  byId("storage").hidden = !review.storage;
}

// Counts are corrected one by one: to select all of 50,000 items anew for each key would be felt.
let countTimer = 0;
review.onVerdicts = (items) => {
  for (const item of items) showItem(item);
  if (viewer.open && items.includes(viewerItem)) showVerdict(viewerItem);
  clearTimeout(countTimer);
  countTimer = setTimeout(recount, 60);
};

function recount() {
  const shown = view.items;
  select(); // counts; what left the chosen state stays in sight until the next filter
  view.items = shown;
  showCounts();
}

function undoAndShow() {
  const [item] = undo();
  if (!item) return;
  if (viewer.open && item.shown !== undefined && view.items[item.shown] === item) show(item.shown);
  else cursor.set(item);
}

function handOut() {
  if (!review.reviewer) {
    byId("reviewer").focus();
    byId("storage").hidden = false;
    byId("storage").textContent = "Write your name first: review.csv records who decided.";
    return;
  }
  if (data.loaded < data.parts) return;
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([reviewCsv()], { type: "text/csv" }));
  link.download = "review.csv";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function fill(select, names, chosen) {
  const known = new Set([...select.options].map((option) => option.value));
  for (const [value, label] of names) {
    if (known.has(value)) continue;
    const option = make("option", "", label);
    option.value = value;
    select.append(option);
  }
  select.value = chosen;
}

function fillChoices() {
  const classes = [...new Set(data.subjects.map((subject) => subject.className))].filter(Boolean).sort();
  fill(byId("class-name"), classes.map((name) => [name, name]), view.class);
  const columns = ["code", "sample", "segment_note", ...columnNames()];
  fill(byId("column"), columns.map((name) => [name, name]), view.column);
  const numeric = [...data.scores, ...columnNames().filter((name) => data.subjects.some((subject) =>
    numberOf(subject.columns.get(name)) !== null))];
  fill(byId("sort"), numeric.flatMap((name) => [[name, `${name}, lowest first`], [`-${name}`, `${name}, highest first`]]),
    view.sort);
  fillValues();
}

function fillValues() {
  const values = new Set();
  if (view.column) for (const item of data.items) {
    const value = valueOf(item, view.column);
    if (value !== undefined && values.size < 500) values.add(String(value));
  }
  byId("value").replaceChildren(make("option", "", "Any value"));
  byId("value").firstChild.value = "";
  fill(byId("value"), [...values].sort().map((value) => [value, value]), view.value);
  byId("value").hidden = !view.column;
  byId("limits").hidden = !view.sort;
}

function bind(id, name, event = "change") {
  let timer = 0;
  byId(id).value = view[name];
  byId(id).addEventListener(event, () => {
    clearTimeout(timer);
    view[name] = byId(id).value;
    if (name === "column") view.value = "";
    if (name === "column" || name === "sort") fillValues();
    timer = setTimeout(applyFilter, event === "input" ? 80 : 0);
  });
}

function step(places) {
  if (!view.items.length) return;
  const from = cursor.item?.shown ?? -1;
  const place = from < 0 ? 0 : Math.min(Math.max(from + places, 0), view.items.length - 1);
  cursor.set(view.items[place]);
  cursor.focus();
}

function onGridKey(event) {
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -list.columns, ArrowDown: list.columns };
  const { item } = cursor;
  if (event.key in moves) step(moves[event.key]);
  else if (event.key === "u") undoAndShow();
  else if (event.key === "/") byId("query").focus();
  else if (item && (event.key === "A" || event.key === "R")) {
    decide(view.items.filter((one) => one.subject === item.subject), event.key.toLowerCase());
  } else if (item && (event.key === "a" || event.key === "r")) {
    decide([item], event.key);
    step(1);
  } else return;
  event.preventDefault();
}

function onViewerKey(event) {
  const digit = Number(event.key);
  if (event.key === "ArrowLeft") show(current - 1);
  else if (event.key === "ArrowRight") show(current + 1);
  else if (event.key === "a" || event.key === "r") decideCurrent(event.key);
  else if (event.key === "u") undoAndShow();
  else if (event.key === "n") byId("note").focus();
  else if (digit >= 1 && digit <= REASONS.length) giveReason(REASONS[digit - 1]);
  else return;
  event.preventDefault();
}

function listen() {
  byId("subjects").addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (!card) return;
    const item = data.byKey.get(card.dataset.item.slice(0, KEY_DIGITS));
    const button = event.target.closest("[data-decide]");
    if (button) {
      const isUndone = button.getAttribute("aria-pressed") === "true" && local.has(item);
      cursor.set(item);
      decide([item], isUndone ? "u" : button.dataset.decide);
    } else if (event.target.closest(".tile")) show(item.shown);
  });
  byId("statuses").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (chosen) { view.status = chosen.dataset.status; applyFilter(); }
  });
  byId("reviews").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (chosen) { view.review = chosen.dataset.review; applyFilter(); }
  });
  byId("hand-out").onclick = handOut;
  byId("undo-all").onclick = undoAndShow;
  byId("reviewer").addEventListener("change", () => { setReviewer(byId("reviewer").value); showCounts(); });
  byId("more-filters").onclick = () => byId("toolbar").classList.toggle("open");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) return;
    if (viewer.open) onViewerKey(event); else onGridKey(event);
  });
  window.addEventListener("scroll", onScroll, { passive: true });
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; layOut(); } });
  window.addEventListener("hashchange", () => { const wanted = readAddress(); fillChoices(); refresh(); openItem(wanted); });
  window.addEventListener("beforeunload", (event) => { if (review.storage && local.size) event.preventDefault(); });
}

function openItem(id) {
  const item = id && data.byKey.get(id.slice(0, KEY_DIGITS));
  if (item?.shown !== undefined && view.items[item.shown] === item) show(item.shown);
}

function onPart(isThere, first, wanted) {
  restoreVerdicts(data.items.slice(first));
  const last = data.loaded >= data.parts;
  byId("loading").hidden = last && isThere;
  byId("loading").textContent = isThere ? `Loading ${data.loaded} of ${data.parts} parts`
    : `data-${String(data.loaded).padStart(5, "0")}.js is missing beside this page; copy the whole gallery folder.`;
  byId("hand-out").disabled = !last;
  if (last || data.loaded === 1) { fillChoices(); refresh(); }
  if (!last) return;
  if (data.serve) startSync();
  openItem(wanted);
  document.documentElement.dataset.loaded = "true";
}

function start() {
  const wanted = readAddress();
  buildReasons();
  for (const [id, name, event] of [["query", "q", "input"], ["class-name", "class"], ["column", "column"],
    ["value", "value"], ["sort", "sort"], ["min", "min", "input"], ["max", "max", "input"]]) bind(id, name, event);
  listen();
  let first = 0;
  const next = (isThere) => { const from = first; first = data.items.length; onPart(isThere, from, wanted); };
  next(true);
  byId("reviewer").value = review.reviewer;
  loadParts(next);
  document.documentElement.dataset.ready = "true";
}
