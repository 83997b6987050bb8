// Cards and subjects as elements. Each is built from its item and forgotten when it leaves the window.

function renderReference(subject) {
  if (!subject.thumbnail) return make("div", "reference missing", "Reference not readable");
  const image = make("img", "reference");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = `Reference of ${subject.id}`;
  image.title = subject.image;
  image.src = subject.thumbnail;
  return image;
}

function renderAbout(block) {
  const { subject } = block;
  const about = make("div", "about");
  about.style.height = `${list.about}px`;
  const picture = make("div", "reference-box");
  picture.append(renderReference(subject), make("span", "tag", "Reference"));
  const text = make("div", "about-text");
  const title = make("h2", "", subject.id);
  title.title = subject.id;
  text.append(title, make("p", "class-name", subject.className));
  text.append(make("p", "tally", subject.done === subject.total
    ? `${subject.total} image${subject.total === 1 ? "" : "s"}` : `${subject.done} of ${subject.total} images`));
  const bulk = make("div", "bulk");
  for (const [d, label] of [["a", "Approve all"], ["r", "Reject all"]]) {
    const button = make("button", `bulk-${d}`, label);
    button.type = "button";
    button.title = `${label} images of this subject that are shown (Shift+${d.toUpperCase()})`;
    button.onclick = () => decide(view.items.slice(block.first, block.first + block.count), d);
    bulk.append(button);
  }
  text.append(bulk);
  if (subject.attributes.length) text.append(renderPairs(subject.attributes, "attributes"));
  about.append(picture, text);
  return about;
}

function renderPairs(pairs, className) {
  const rows = make("dl", className);
  for (const [name, value] of pairs) {
    const row = make("div");
    row.append(make("dt", "", name), make("dd", "", value));
    rows.append(row);
  }
  return rows;
}

function renderPicture(item) {
  if (item.status !== "done") return renderReason(item);
  const image = make("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = item.prompt;
  image.onerror = () => image.replaceWith(renderReason(
    { status: "missing", code: "image not found", message: `No readable image at ${item.url}` }));
  image.src = item.url;
  return image;
}

function renderReason(item) {
  const box = make("div", `reason ${item.status}`);
  box.append(make("span", "badge", item.status), make("code", "", item.code),
    make("p", "", item.status === "pending" ? "Not generated yet; run the job again to continue it." : item.message));
  return box;
}

function renderCard(item) {
  const card = make("figure", `card ${item.status}`);
  card.dataset.item = item.id;
  const button = make("button", "tile");
  button.type = "button";
  button.style.height = `${list.cell}px`;
  button.append(renderPicture(item));
  const caption = make("figcaption", "", list.isFlat ? `${item.subject.id} · ${item.prompt}` : item.prompt);
  caption.title = item.prompt;
  const facts = [scoreLine(item), item.quality ? describeQuality(item.quality) : "", item.note];
  card.append(button);
  if (item.status === "done") card.append(renderDecide(item));
  card.append(caption, make("p", "scores", facts.filter(Boolean).join(" · ")));
  showState(card, item);
  return card;
}

function scoreLine(item) {
  const sort = sortOf(view.sort);
  const value = sort && valueOf(item, sort.column);
  return value === undefined || value === null ? "" : `${sort.column} ${value}`;
}

function renderDecide(item) {
  const bar = make("div", "decide");
  for (const [d, label, sign] of [["r", "Reject", "✕"], ["a", "Approve", "✓"]]) {
    const button = make("button", `decide-${d}`, sign);
    button.type = "button";
    button.dataset.decide = d;
    button.setAttribute("aria-label", label);
    button.title = `${label} (${d})`;
    bar.append(button);
  }
  return bar;
}

// The card's colour, pressed buttons and words, without building it anew.
function showState(card, item) {
  const state = stateOf(item), others = othersOf(item);
  card.dataset.review = state;
  card.classList.toggle("current", item === cursor.item);
  for (const button of card.querySelectorAll("[data-decide]")) {
    button.setAttribute("aria-pressed", String(state === { a: "approved", r: "rejected" }[button.dataset.decide]));
  }
  let line = card.querySelector(".verdict");
  if (!line) card.append(line = make("p", "verdict"));
  const { reason, note } = reasonOf(item);
  line.textContent = [others, state === "rejected" ? reason : "", note].filter(Boolean).join(" · ");
}

function describeQuality({ image, text, tries }) {
  const score = (name, value) => (value === null ? [] : [`${name} ${value.toFixed(3)}`]);
  return [...score("image", image), ...score("text", text), tries === 1 ? "1 try" : `${tries} tries`].join(" · ");
}
