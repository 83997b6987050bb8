// The large view: one item, its reference and its figures, with arrow keys through the filtered items.

const viewer = byId("viewer");
let current = 0;

function show(place) {
  if (!state.items.length) return;
  current = (place + state.items.length) % state.items.length;
  const item = state.items[current];
  const picture = drawPicture(item);
  if (picture.tagName === "IMG") {
    picture.loading = "eager";
    // Small images are shown larger than they are, up to what the window allows.
    picture.style.width = `${Math.max(item.width || 512, 560)}px`;
  }
  byId("stage").replaceChildren(picture);
  byId("details").replaceChildren(...drawDetails(item));
  byId("position").textContent = `${(current + 1).toLocaleString("en")} / ${state.items.length.toLocaleString("en")}`;
  if (!viewer.open) viewer.showModal();
}

function drawDetails(item) {
  const prompt = make("div", "prompt");
  prompt.append(make("p", "", item.prompt), copyButton(item.prompt, "Copy prompt"));
  const subject = make("div", "subject-line");
  const names = make("div");
  names.append(make("strong", "", item.subject.id), make("span", "class-name", item.subject.className));
  subject.append(drawReference(item.subject), names);
  const figures = [["Seed", item.seed], ["Sample", item.sample], ["Item", item.id],
    ["Size", item.width && item.height ? `${item.width} × ${item.height}` : ""], ["Reason", item.code],
    ["Segmenter", item.note],
    ["Quality", item.quality ? describeQuality(item.quality) : ""],
    ...item.subject.attributes, ["Reference", item.subject.image]];
  const list = drawPairs(figures.filter(([, value]) => value !== "" && value !== null && value !== undefined), "figures");
  for (const row of list.children) {
    const { textContent: name } = row.firstChild;
    if (name === "Item") row.lastChild.className = "id";
    if (name === "Item" || name === "Seed") row.append(copyButton(row.lastChild.textContent, "Copy"));
  }
  const parts = [prompt, subject, list];
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

byId("subjects").addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (tile) show(Number(tile.dataset.place));
});
byId("previous").onclick = () => show(current - 1);
byId("next").onclick = () => show(current + 1);
byId("close").onclick = () => viewer.close();
viewer.addEventListener("click", (event) => { if (event.target === viewer || event.target === byId("stage")) viewer.close(); });
viewer.addEventListener("close", () => {
  byId("stage").replaceChildren();
  const tile = document.querySelector(`.tile[data-place="${current}"]`);
  if (tile) tile.focus();
});
document.addEventListener("keydown", (event) => {
  if (viewer.open && event.key === "ArrowLeft") show(current - 1);
  else if (viewer.open && event.key === "ArrowRight") show(current + 1);
  else if (!viewer.open && event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) {
    event.preventDefault();
    byId("query").focus();
  }
});

if (data) start();
else {
  byId("empty").hidden = false;
  byId("empty").textContent = "data.js is missing beside this page; copy the whole gallery folder.";
}
