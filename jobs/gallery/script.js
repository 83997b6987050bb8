"use strict";
// Reads the data, filters it, and draws cards in portions as the reader scrolls.
// Every text from the catalog goes through textContent or a DOM property: none is ever parsed as HTML.

const PORTION = 96;
const byId = (id) => document.getElementById(id);

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function readData() {
  if (typeof window.GALLERY_DATA !== "string") return null;
  const raw = JSON.parse(window.GALLERY_DATA);
  delete window.GALLERY_DATA;
  const subjects = raw.subjects.map(([id, className, image, thumbnail, attributes]) => ({
    id, className, image, thumbnail, attributes, done: 0, total: 0,
    words: [id, className, ...attributes.map((pair) => pair[1])].join("\n").toLowerCase(),
  }));
  const words = raw.texts.map((text) => text.toLowerCase());
  const items = raw.items.map(([id, subject, prompt, sample, seed, status, key, code, message, width, height,
    quality, note]) => ({
    id, subject: subjects[subject], prompt: raw.texts[prompt], promptWords: words[prompt], sample, seed, status,
    url: key ? "../" + key : "", code: raw.texts[code], message: raw.texts[message], width, height,
    quality: quality ? { image: quality[0], text: quality[1], tries: quality[2] } : null,
    note: raw.texts[note],
  }));
  for (const item of items) {
    item.subject.total += 1;
    if (item.status === "done") item.subject.done += 1;
  }
  // Neighbours of one subject stand together even if the manifest mixes them.
  const places = new Map(subjects.map((subject, place) => [subject, place]));
  items.sort((a, b) => places.get(a.subject) - places.get(b.subject));
  return { subjects, items };
}

const data = readData();
const state = { query: "", className: "", status: "", items: [], drawn: 0, section: null };

function matches(item, terms) {
  if (state.status && item.status !== state.status) return false;
  if (state.className && item.subject.className !== state.className) return false;
  return terms.every((term) =>
    item.subject.words.includes(term) || item.promptWords.includes(term) || (term.length >= 8 && item.id.startsWith(term)));
}

function applyFilter() {
  const terms = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  state.items = data.items.filter((item) => matches(item, terms));
  state.drawn = 0;
  state.section = null;
  byId("subjects").replaceChildren();
  const subjects = new Set(state.items.map((item) => item.subject)).size;
  const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
  byId("showing").textContent = `Showing ${count(state.items.length, "item")} of ${count(subjects, "subject")}`;
  byId("empty").hidden = state.items.length > 0;
  byId("empty").textContent = data.items.length ? "Nothing matches. Try fewer words." : "This job has no items yet.";
  drawMore();
  if (byId("subjects").getBoundingClientRect().top < 0) byId("subjects").scrollIntoView();
}

function drawMore() {
  const end = Math.min(state.drawn + PORTION, state.items.length);
  for (; state.drawn < end; state.drawn += 1) {
    const item = state.items[state.drawn];
    if (!state.section || state.section.subject !== item.subject) {
      state.section = drawSubject(item.subject);
      byId("subjects").append(state.section.node);
    }
    state.section.grid.append(drawCard(item, state.drawn));
  }
  // An observer tells of changes only: watch anew, so that a portion shorter than the window draws the next.
  watcher.unobserve(byId("more"));
  if (state.drawn < state.items.length) watcher.observe(byId("more"));
}

const watcher = new IntersectionObserver(
  (entries) => { if (entries.some((entry) => entry.isIntersecting)) drawMore(); }, { rootMargin: "1500px" });

function drawReference(subject) {
  if (!subject.thumbnail) return make("div", "reference missing", "Reference not readable");
  const image = make("img", "reference");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = `Reference of ${subject.id}`;
  image.title = subject.image;
  image.src = subject.thumbnail;
  return image;
}

function drawSubject(subject) {
  const node = make("section", "subject");
  const about = make("div", "about");
  const text = make("div", "about-text");
  text.append(make("h2", "", subject.id), make("p", "class-name", subject.className));
  if (subject.attributes.length) text.append(drawPairs(subject.attributes, "attributes"));
  text.append(make("p", "tally", subject.done === subject.total
    ? `${subject.total} image${subject.total === 1 ? "" : "s"}` : `${subject.done} of ${subject.total} images`));
  const picture = make("div", "reference-box");
  picture.append(drawReference(subject), make("span", "tag", "Reference"));
  about.append(picture, text);
  const grid = make("div", "grid");
  node.append(about, grid);
  return { subject, node, grid };
}

function drawPairs(pairs, className) {
  const list = make("dl", className);
  for (const [name, value] of pairs) {
    const row = make("div");
    row.append(make("dt", "", name), make("dd", "", value));
    list.append(row);
  }
  return list;
}

function drawPicture(item) {
  if (item.status !== "done") return drawReason(item);
  const image = make("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = item.prompt;
  image.onerror = () => image.replaceWith(drawReason(
    { status: "missing", code: "image not found", message: `No readable image at ${item.url}` }));
  image.src = item.url;
  return image;
}

function drawReason(item) {
  const box = make("div", `reason ${item.status}`);
  box.append(make("span", "badge", item.status), make("code", "", item.code),
    make("p", "", item.status === "pending" ? "Not made yet; run the job again to continue it." : item.message));
  return box;
}

function drawCard(item, place) {
  const card = make("figure", `card ${item.status}`);
  const button = make("button", "tile");
  button.type = "button";
  button.dataset.place = place;
  if (item.width && item.height) {
    button.style.aspectRatio = Math.min(2, Math.max(0.5, item.width / item.height)).toFixed(3);
  }
  button.append(drawPicture(item));
  const caption = make("figcaption", "", item.prompt);
  caption.title = item.prompt;
  card.append(button, caption);
  if (item.quality) card.append(make("p", "scores", describeQuality(item.quality)));
  if (item.note) card.append(make("p", "scores", item.note));
  return card;
}

function describeQuality({ image, text, tries }) {
  const score = (name, value) => (value === null ? [] : [`${name} ${value.toFixed(3)}`]);
  return [...score("image", image), ...score("text", text), tries === 1 ? "1 try" : `${tries} tries`].join(" · ");
}

function start() {
  const names = [...new Set(data.subjects.map((subject) => subject.className))].filter(Boolean).sort();
  for (const name of names) {
    const option = make("option", "", name);
    option.value = name;
    byId("class-name").append(option);
  }
  let timer = 0;
  byId("query").addEventListener("input", (event) => {
    clearTimeout(timer);
    state.query = event.target.value;
    timer = setTimeout(applyFilter, 80);
  });
  byId("class-name").addEventListener("change", (event) => { state.className = event.target.value; applyFilter(); });
  byId("statuses").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    state.status = chosen.dataset.status;
    for (const button of byId("statuses").children) button.setAttribute("aria-pressed", String(button === chosen));
    applyFilter();
  });
  byId("query").value = "";
  byId("class-name").value = "";
  applyFilter();
  document.documentElement.dataset.ready = "true";
}
