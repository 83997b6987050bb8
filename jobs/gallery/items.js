"use strict";
// Reads the data, part by part, and holds items and subjects. Knows nothing of verdicts or of the page's elements.
// Every text from the catalog goes through textContent or a DOM property: none is ever parsed as HTML.

const byId = (id) => document.getElementById(id);
const data = { subjects: [], items: [], byKey: new Map(), scores: [], parts: 1, loaded: 0, job: "", serve: false };
const subjectOf = new Map();
const KEY_DIGITS = 20; // of an item's id: 80 bits name it within a job, and keep the browser's storage small

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function readPart() {
  if (typeof window.GALLERY_DATA !== "string") return false;
  const raw = JSON.parse(window.GALLERY_DATA);
  delete window.GALLERY_DATA;
  if (raw.about) Object.assign(data, raw.about);
  const subjects = raw.subjects.map(([id, className, image, thumbnail, attributes]) => {
    if (!subjectOf.has(id)) {
      subjectOf.set(id, { id, className, image, thumbnail, attributes, place: data.subjects.length, done: 0, total: 0,
        columns: new Map(attributes),
        words: [id, className, ...attributes.map((pair) => pair[1])].join("\n").toLowerCase() });
      data.subjects.push(subjectOf.get(id));
    }
    return subjectOf.get(id);
  });
  const words = raw.texts.map((text) => text.toLowerCase());
  for (const [id, subject, prompt, sample, seed, status, key, code, message, width, height, quality, note, scores,
    review] of raw.items) {
    const item = {
      id, subject: subjects[subject], prompt: raw.texts[prompt], promptWords: words[prompt], sample, seed, status,
      url: key ? "../" + key : "", code: raw.texts[code], message: raw.texts[message], width, height,
      quality: quality ? { image: quality[0], text: quality[1], tries: quality[2] } : null,
      note: raw.texts[note], scores: scores || [], place: data.items.length,
      recorded: review ? { state: review[0], reviewers: review[1].map((one) => raw.texts[one]), reason: raw.texts[review[2]],
        note: raw.texts[review[3]], at: review[4] } : null,
    };
    item.subject.total += 1;
    if (item.status === "done") item.subject.done += 1;
    data.items.push(item);
    data.byKey.set(id.slice(0, KEY_DIGITS), item);
  }
  data.loaded += 1;
  return true;
}

// Parts after the first come as scripts too, since a page from disk may not fetch. One after the other.
function loadParts(onPart) {
  if (data.loaded >= data.parts) return;
  const script = make("script");
  script.src = `data-${String(data.loaded).padStart(5, "0")}.js`;
  script.onload = () => { script.remove(); readPart(); onPart(true); loadParts(onPart); };
  script.onerror = () => { script.remove(); onPart(false); };
  document.body.append(script);
}

// A column of the manifest or the catalog, as text or, of scores, as number; undefined where the item has none.
function valueOf(item, column) {
  const score = data.scores.indexOf(column);
  if (score >= 0) return item.scores[score] ?? undefined;
  if (column === "class_name") return item.subject.className;
  if (column === "code") return item.code || undefined;
  if (column === "sample") return item.sample ?? undefined;
  if (column === "prompt") return item.prompt;
  if (column === "segment_note") return item.note || undefined;
  return item.subject.columns.get(column);
}

function columnNames() {
  const names = new Set();
  for (const subject of data.subjects) for (const name of subject.columns.keys()) names.add(name);
  return [...names];
}
