// The large view: one item beside its reference at equal size, verdict under the thumb, arrow keys through what is shown.

const viewer = byId("viewer");
let current = 0;
let viewerItem = null; // the item that is shown: a list that is sorted anew has another one at its place

function show(place) {
  if (!view.items.length) return;
  current = (place + view.items.length) % view.items.length;
  const item = view.items[current];
  if (viewerItem !== item) byId("note").blur(); // what is in it belongs to the item before
  viewerItem = item;
  cursor.set(item);
  const picture = renderPicture(item);
  if (picture.tagName === "IMG") picture.loading = "eager";
  const sides = [["Reference", renderReference(item.subject)], [item.subject.id, picture]].map(([label, node]) => {
    const side = make("figure", "side");
    side.append(node, make("span", "tag", label));
    return side;
  });
  byId("stage").replaceChildren(...sides);
  byId("details").replaceChildren(...renderDetails(item));
  byId("position").textContent = `${(current + 1).toLocaleString("en")} / ${view.items.length.toLocaleString("en")}`;
  showVerdict(item);
  if (!viewer.open) viewer.showModal();
  writeAddress(item.id);
  for (const next of [current + 1, current + 2]) { // loaded while this one is looked at
    const ahead = view.items[next % view.items.length];
    if (ahead && ahead.status === "done") new Image().src = ahead.url;
  }
}

function showVerdict(item) {
  const state = stateOf(item), { reason, note } = reasonOf(item);
  viewer.dataset.review = state;
  byId("decide").hidden = item.status !== "done";
  byId("approve").setAttribute("aria-pressed", String(state === "approved"));
  byId("reject").setAttribute("aria-pressed", String(state === "rejected"));
  byId("undo").disabled = !undoStack.length;
  byId("reasons").hidden = state !== "rejected";
  for (const chip of byId("reasons").querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", String(chip.textContent === reason));
  }
  if (document.activeElement !== byId("note")) byId("note").value = drafts.get(item) ?? note;
  const others = othersOf(item);
  byId("verdict").textContent = [state === "pending" ? "" : state, state === "rejected" ? reason : "", others]
    .filter(Boolean).join(" · ");
}

function renderDetails(item) {
  const prompt = make("div", "prompt");
  prompt.append(make("p", "", item.prompt), copyButton(item.prompt, "Copy prompt"));
  const figures = [["Subject", item.subject.id], ["Class", item.subject.className], ["Seed", item.seed],
    ["Sample", item.sample], ["Item", item.id],
    ["Size", item.width && item.height ? `${item.width} × ${item.height}` : ""], ["Reason", item.code],
    ["Segmenter", item.note],
    ["Quality", item.quality ? describeQuality(item.quality) : ""],
    ...data.scores.map((name, n) => [name, item.scores[n] ?? ""]),
    ["Recorded", item.recorded ? `${item.recorded.state} by ${item.recorded.reviewers.join(", ")}` : ""],
    ...item.subject.attributes, ["Reference", item.subject.image]];
  const rows = renderPairs(figures.filter(([, value]) => value !== "" && value !== null && value !== undefined), "figures");
  for (const row of rows.children) {
    const { textContent: name } = row.firstChild;
    if (name === "Item") row.lastChild.className = "id";
    if (name === "Item" || name === "Seed") row.append(copyButton(row.lastChild.textContent, "Copy"));
  }
  const parts = [prompt, rows];
  if (item.status === "done") {
    const link = make("a", "open", "Open image file");
    link.href = item.url;
    link.target = "_blank";
    link.rel = "noopener";
    parts.push(link);
  }
  return parts;
}

function copyButton(text, label) {
  const button = make("button", "copy", label);
  button.type = "button";
  button.onclick = async () => {
    button.textContent = await copy(text) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = label; }, 1200);
  };
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages from disk or plain http have no clipboard in some browsers; the old way still works there.
    const area = make("textarea", "hidden");
    area.value = text;
    viewer.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

// An approval leads to the next image; a rejection waits for its reason, which leads on.
function decideCurrent(d) {
  const item = viewerItem;
  if (!item || item.status !== "done") return;
  decide([item], d, { note: noteText() });
  if (d === "a") advance(item); else showVerdict(item);
}

const noteText = () => [...byId("note").value].slice(0, 2000).join("");

// Where the shown item is in a list that was made anew; its place before, where it is there no more.
function findCurrent() {
  const place = view.items.indexOf(viewerItem);
  if (place >= 0) current = place;
}

function advance(item) {
  if (current + 1 < view.items.length) show(current + 1); else showVerdict(item);
}

function buildReasons() {
  REASONS.forEach((reason, n) => {
    const chip = make("button", "chip", reason);
    chip.type = "button";
    chip.title = `${reason} (${n + 1})`;
    chip.onclick = () => giveReason(reason);
    byId("reasons").append(chip);
  });
}

function giveReason(reason) {
  const item = viewerItem;
  if (!item || stateOf(item) !== "rejected") return;
  explain(item, { reason });
  advance(item);
}

byId("approve").onclick = () => decideCurrent("a");
byId("reject").onclick = () => decideCurrent("r");
byId("undo").onclick = () => undoAndShow();
byId("note").addEventListener("change", () => {
  const item = viewerItem;
  if (!item || item.status !== "done") return;
  if (stateOf(item) === "pending") drafts.set(item, noteText()); else explain(item, { note: noteText() });
});
byId("previous").onclick = () => show(current - 1);
byId("next").onclick = () => show(current + 1);
byId("close").onclick = () => viewer.close();
byId("facts").onclick = () => viewer.classList.toggle("with-details");
viewer.addEventListener("click", (event) => { if (event.target === viewer || event.target === byId("stage")) viewer.close(); });
viewer.addEventListener("close", () => {
  viewerItem = null;
  byId("stage").replaceChildren();
  writeAddress();
  refresh();
  if (cursor.item) cursor.focus();
});
