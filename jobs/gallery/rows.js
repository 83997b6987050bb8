// The windowed list: only rows near the window are elements of the page, however many items there are.
//
// A block is a subject with its items, or all items where they are sorted by score. Heights follow from the number of
// items alone: nothing is measured while the reader scrolls.

const GAP = 14, BELOW_TILE = 132, MARGIN = 900;
const list = { blocks: [], columns: 1, cell: 200, about: 0, height: 0, rows: new Map(), sections: new Map(), isFlat: false };

function layOut() {
  const width = byId("subjects").clientWidth, isPhone = window.innerWidth <= 760;
  list.isFlat = Boolean(view.sort);
  list.about = isPhone ? 132 : 400;
  const room = list.isFlat || isPhone ? width : width - 236;
  list.columns = Math.max(isPhone ? 2 : 1, Math.floor((room + GAP) / ((isPhone ? 150 : 186) + GAP)));
  list.cell = Math.floor((room - GAP * (list.columns - 1)) / list.columns);
  list.step = list.cell + BELOW_TILE + GAP;
  list.blocks = [];
  let top = 0, block = null;
  view.items.forEach((item, place) => {
    item.shown = place;
    if (!block || (!list.isFlat && block.subject !== item.subject)) {
      block = { subject: list.isFlat ? null : item.subject, first: place, count: 0 };
      list.blocks.push(block);
    }
    block.count += 1;
  });
  for (const one of list.blocks) {
    one.rows = Math.ceil(one.count / list.columns);
    one.head = one.subject && isPhone ? list.about + GAP : 0;
    const grid = one.rows * list.step;
    one.top = top;
    one.height = 24 + (one.subject && !isPhone ? Math.max(list.about, grid) : one.head + grid);
    top += one.height;
  }
  list.height = top;
  byId("subjects").style.height = `${top}px`;
  for (const node of list.sections.values()) node.remove();
  list.rows.clear();
  list.sections.clear();
  renderWindow();
}

function firstBlockAt(y) {
  let low = 0, high = list.blocks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list.blocks[middle].top + list.blocks[middle].height < y) low = middle + 1; else high = middle;
  }
  return low;
}

function renderWindow() {
  const box = byId("subjects").getBoundingClientRect();
  const from = -box.top - MARGIN, to = -box.top + window.innerHeight + MARGIN;
  const sections = new Set(), rows = new Set();
  for (let n = firstBlockAt(from); n < list.blocks.length && list.blocks[n].top < to; n += 1) {
    const block = list.blocks[n];
    sections.add(n);
    if (!list.sections.has(n)) {
      list.sections.set(n, renderBlock(block));
      byId("subjects").append(list.sections.get(n));
    }
    const start = Math.max(0, Math.floor((from - block.top - 12 - block.head) / list.step));
    const end = Math.min(block.rows, Math.ceil((to - block.top - 12 - block.head) / list.step));
    for (let row = start; row < end; row += 1) {
      const key = `${n}/${row}`;
      rows.add(key);
      if (!list.rows.has(key)) {
        list.rows.set(key, renderRow(block, row));
        list.sections.get(n).append(list.rows.get(key));
      }
    }
  }
  forget(list.rows, rows);
  forget(list.sections, sections);
}

function forget(nodes, kept) {
  for (const [key, node] of nodes) if (!kept.has(key)) { node.remove(); nodes.delete(key); }
}

function renderBlock(block) {
  const section = make("section", block.subject ? "subject" : "subject flat");
  section.style.cssText = `top:${block.top}px;height:${block.height}px`;
  if (block.subject) section.append(renderAbout(block));
  return section;
}

function renderRow(block, row) {
  const node = make("div", "row");
  node.style.cssText = `top:${12 + block.head + row * list.step}px;height:${list.step - GAP}px;` +
    `grid-template-columns:repeat(${list.columns},${list.cell}px);gap:${GAP}px`;
  const first = block.first + row * list.columns;
  const end = Math.min(first + list.columns, block.first + block.count);
  for (let place = first; place < end; place += 1) node.append(renderCard(view.items[place]));
  return node;
}

// Where an item's row lies on the page, for scrolling to it.
function revealItem(place) {
  const block = list.blocks.findLast((one) => one.first <= place);
  if (!block) return;
  const y = block.top + 12 + block.head + Math.floor((place - block.first) / list.columns) * list.step;
  const box = byId("subjects").getBoundingClientRect(), bar = byId("toolbar").offsetHeight + 8;
  const top = box.top + y;
  if (top < bar) window.scrollBy(0, top - bar);
  else if (top + list.step > window.innerHeight) window.scrollBy(0, top + list.step - window.innerHeight);
  renderWindow();
}

let isFrameAsked = false;
function onScroll() {
  if (isFrameAsked) return;
  isFrameAsked = true;
  requestAnimationFrame(() => { isFrameAsked = false; renderWindow(); });
}
