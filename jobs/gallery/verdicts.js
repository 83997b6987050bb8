// What this reviewer decided: kept in the browser an item a key, so that two tabs never overwrite each other's verdicts.
// Knows items; shows nothing itself, but calls `onVerdicts` with the items that changed.

const REASONS = ["wrong product", "wrong colour", "text or logo", "artifacts", "scene", "cropped"];
const WORDS = { a: "approve", r: "reject", u: "undo" };
const local = new Map(); // item -> { d: a | r | u, t: milliseconds, reason, note, by: who }
const drafts = new Map(); // item -> note that was written before its verdict
const undoStack = [];
const review = { reviewer: "", storage: "", onVerdicts: () => {}, onRecord: () => {} };
const NAME_KEY = "dreamcache-reviewer";

const keyOf = (item) => `dc/${data.job}/${item.id.slice(0, KEY_DIGITS)}`;
const pack = (verdict) =>
  [verdict.d, verdict.t.toString(36), ...[verdict.reason, verdict.note, verdict.by].map(encodeURIComponent)].join("|");

function unpack(text) {
  const [d, t, reason = "", note = "", by = ""] = String(text).split("|");
  const when = parseInt(t, 36);
  if (!WORDS[d] || !Number.isFinite(when)) return null;
  try {
    return { d, t: when, reason: decodeURIComponent(reason), note: decodeURIComponent(note), by: decodeURIComponent(by) };
  } catch { return null; }
}

function storageDo(action) {
  try { return action(window.localStorage); } catch (error) {
    review.storage = error.name === "QuotaExceededError"
      ? "This browser's storage is full: hand out review.csv now, or verdicts are lost when the page is closed."
      : "This browser keeps no verdicts for this page: hand out review.csv before you close it.";
    return null;
  }
}

// Verdicts of earlier visits, of the items that are loaded by now.
function restoreVerdicts(items) {
  review.reviewer ||= storageDo((storage) => storage.getItem(NAME_KEY)) || "";
  for (const item of items) {
    const stored = storageDo((storage) => storage.getItem(keyOf(item)));
    const verdict = stored === null || stored === undefined ? null : unpack(stored);
    if (verdict) local.set(item, verdict);
  }
}

function setReviewer(name) {
  review.reviewer = [...name.trim()].slice(0, 100).join("");
  storageDo((storage) => storage.setItem(NAME_KEY, review.reviewer));
}

// Who decided: several people may share a browser. A verdict that was given without a name takes today's.
const giverOf = (verdict) => verdict.by || review.reviewer;

// Whether nobody but this reviewer has decided.
const isMine = (recorded) => recorded.reviewers.length === 1 && recorded.reviewers[0] === review.reviewer;

// Whether what is recorded knows this verdict of the reviewer.
function isRecorded(item, own) {
  const { recorded } = item;
  return Boolean(recorded) && own.t <= recorded.at && recorded.reviewers.includes(giverOf(own));
}

// approved, rejected, conflict or pending, as this reviewer should see it; "" for an item without an image.
function stateOf(item) {
  if (item.status !== "done") return "";
  const own = local.get(item);
  if (own && isRecorded(item, own)) return item.recorded.state; // perhaps a conflict with what others decided
  if (own && own.d !== "u") return own.d === "a" ? "approved" : "rejected";
  if (!item.recorded || (own && isMine(item.recorded))) return "pending";
  return item.recorded.state;
}

function reasonOf(item) {
  const own = local.get(item);
  if (own) return own.d === "r" ? { reason: own.reason, note: own.note } : { reason: "", note: own.note };
  return { reason: item.recorded?.reason || "", note: item.recorded?.note || "" };
}

// What others recorded, where it is not what this reviewer sees.
function othersOf(item) {
  const { recorded } = item;
  if (!recorded || recorded.state === "pending") return "";
  if (recorded.state === stateOf(item) && recorded.state !== "conflict") return "";
  return `${recorded.reviewers.join(", ")}: ${recorded.state}`;
}

function store(item, verdict) {
  if (verdict) local.set(item, verdict); else local.delete(item);
  storageDo((storage) => verdict ? storage.setItem(keyOf(item), pack(verdict)) : storage.removeItem(keyOf(item)));
}

// This reviewer's verdict of an earlier visit, where only the record has it; null where there is none.
function ownRecorded(item) {
  const { recorded } = item;
  const d = recorded && isMine(recorded) && { approved: "a", rejected: "r" }[recorded.state];
  return d ? { d, t: recorded.at, reason: recorded.reason, note: recorded.note, by: review.reviewer } : null;
}

// One step of undo, however many items.
function decide(items, d, { reason = "", note = null } = {}) {
  const some = items.filter((item) => item.status === "done");
  if (!some.length) return;
  undoStack.push(some.map((item) => [item, local.get(item) || ownRecorded(item)]));
  const t = Date.now();
  for (const item of some) {
    store(item, { d, t: Math.max(t, (local.get(item)?.t || 0) + 1), reason,
      note: note ?? drafts.get(item) ?? reasonOf(item).note, by: review.reviewer });
    drafts.delete(item);
  }
  review.onVerdicts(some);
  review.onRecord(some);
}

function explain(item, changes) {
  const own = local.get(item);
  const before = own && own.d !== "u" ? own : { d: stateOf(item) === "approved" ? "a" : "r", ...reasonOf(item) };
  decide([item], before.d, { reason: before.reason, note: before.note, ...changes });
}

// A verdict that may have been recorded meanwhile is withdrawn, not forgotten.
function undo() {
  const step = undoStack.pop();
  if (!step) return [];
  const t = Date.now();
  for (const [item, before] of step) {
    const later = Math.max(t, (local.get(item)?.t || 0) + 1);
    store(item, before ? { ...before, t: later } : { d: "u", t: later, reason: "", note: "", by: local.get(item)?.by ?? review.reviewer });
  }
  const items = step.map(([item]) => item);
  review.onVerdicts(items);
  review.onRecord(items);
  return items;
}

// Another tab has decided: its verdict is in the storage already.
window.addEventListener("storage", (event) => {
  if (!event.key || !event.key.startsWith(`dc/${data.job}/`)) return;
  const item = data.byKey.get(event.key.split("/").pop());
  if (!item) return;
  const verdict = event.newValue === null ? null : unpack(event.newValue);
  if (verdict) local.set(item, verdict); else local.delete(item);
  review.onVerdicts([item]);
});

// A cell that begins like a formula is quoted, so that a spreadsheet shows it and does not run it.
function csvCell(value) {
  let text = String(value ?? "");
  if (/^[=+\-@\t\r\n]/.test(text)) text = `'${text}`;
  return /[",\r\n;]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function verdictRow(item) {
  const verdict = local.get(item);
  return { item_id: item.id, verdict: WORDS[verdict.d], reviewer: giverOf(verdict), reason: verdict.reason,
    note: verdict.note, decided_at: new Date(verdict.t).toISOString() };
}

function reviewCsv() {
  const names = ["item_id", "verdict", "reviewer", "reason", "note", "decided_at", "subject_id", "prompt"];
  const rows = [...local.keys()].map((item) =>
    ({ ...verdictRow(item), subject_id: item.subject.id, prompt: item.prompt }));
  return "\ufeff" + [names, ...rows.map((row) => names.map((name) => row[name]))]
    .map((cells) => cells.map(csvCell).join(",")).join("\r\n") + "\r\n";
}
