// Verdicts to and from `dreamcache gallery --serve`. The browser's storage has them first: a lost answer loses none.

const waiting = new Set();
const POLL_MS = 4000;
let syncTimer = 0, seen = 0;

const HEADERS = { "content-type": "application/json", "x-dreamcache-review": "1" };

function startSync() {
  review.onRecord = (items) => {
    for (const item of items) waiting.add(item);
    clearTimeout(syncTimer);
    syncTimer = setTimeout(send, 400);
    showSync("Saving …");
  };
  if (!review.reviewer && data.reviewer) {
    setReviewer(data.reviewer);
    byId("reviewer").value = review.reviewer;
  }
  if (local.size) review.onRecord([...local.keys()]); // of a visit that ended before they were sent
  poll();
  window.addEventListener("pagehide", () => { if (waiting.size) send({ keepalive: true }); });
}

function showSync(text, isWrong = false) {
  byId("sync").hidden = !text;
  byId("sync").textContent = text;
  byId("sync").classList.toggle("wrong", isWrong);
}

async function send({ keepalive = false } = {}) {
  const some = [...waiting].slice(0, keepalive ? 100 : 2000);
  if (!some.length) return;
  if (!review.reviewer) {
    showSync("Write your name: a verdict records who decided.", true);
    byId("reviewer").focus();
    syncTimer = setTimeout(send, 3000);
    return;
  }
  const sent = new Map(some.map((item) => [item, local.get(item)]));
  const rows = some.filter((item) => local.has(item)).map(verdictRow);
  try {
    const answer = await fetch("/api/verdicts", { method: "POST", headers: HEADERS, keepalive,
      credentials: "same-origin", body: JSON.stringify({ verdicts: rows }) });
    const result = await answer.json();
    if (!answer.ok) throw new Error(result.message || answer.status);
    for (const item of some) if (local.get(item) === sent.get(item)) waiting.delete(item);
    take(result.changed);
    const refused = result.problems[0];
    showSync(refused ? `Not recorded: ${refused.message}` : waiting.size ? "Saving …" : "Saved", Boolean(refused));
    if (waiting.size) syncTimer = setTimeout(send, 100);
  } catch (error) {
    showSync(`Not saved yet, kept in this browser: ${error.message}`, true);
    syncTimer = setTimeout(send, POLL_MS);
  }
}

function take(changed) {
  const items = [];
  for (const [id, standing] of Object.entries(changed || {})) {
    const item = data.byKey.get(id.slice(0, KEY_DIGITS));
    if (!item) continue;
    item.recorded = standing;
    items.push(item);
  }
  if (items.length) review.onVerdicts(items);
}

// What others recorded, also by the command line.
async function poll() {
  try {
    const answer = await fetch(`/api/verdicts?since=${seen}`, { headers: HEADERS, credentials: "same-origin" });
    if (answer.ok) {
      const result = await answer.json();
      seen = result.number;
      take(result.changed);
    } else if (answer.status === 401) showSync("This session has ended: open the address that the command printed.", true);
  } catch { /* the next poll asks again */ }
  setTimeout(poll, POLL_MS);
}
