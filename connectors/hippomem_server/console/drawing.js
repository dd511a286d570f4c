// Elements of the page, and the way from a question to a passage as a drawing. Documents come from strangers: all text
// goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 34;
const MOST = 34; // letters of a node, or on a line
const ROW = 78;
const pen = document.createElement("canvas").getContext("2d");

export function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// One row of nodes: the question, and for each step the name that it went by and the passage that it came to, with the
// first fact between them on the line.
export function drawnPath(path) {
  const nodes = [{ label: "question", kind: "question" }];
  for (const step of path.steps) {
    nodes.push({ label: cut(step.entity), kind: "entity" });
    const relation = cut(step.facts[0]?.relation ?? "");
    nodes.push({ label: cut(step.passage_title || "(untitled)"), kind: "passage", relation });
  }
  const svg = shape("svg", { role: "img", height: ROW });
  svg.append(titled(path.text));
  let right = 1;
  nodes.forEach((node, place) => {
    const width = long(node.label, 13) + 20;
    if (place > 0) {
      const gap = Math.max(28, long(node.relation ?? "", 11) + 12);
      svg.append(shape("line", { class: "edge", x1: right, y1: ROW / 2, x2: right + gap, y2: ROW / 2 }));
      if (node.relation) svg.append(words(node.relation, right + gap / 2, ROW / 2 - 7, "relation"));
      right += gap;
    }
    const round = node.kind === "passage" ? 3 : HEIGHT / 2;
    const box = { class: `node ${node.kind}`, x: right, y: (ROW - HEIGHT) / 2, width, height: HEIGHT, rx: round };
    svg.append(shape("rect", box), words(node.label, right + width / 2, ROW / 2 + 4, "label"));
    right += width;
  });
  svg.setAttribute("width", right + 1);
  svg.setAttribute("viewBox", `0 0 ${right + 1} ${ROW}`);
  const frame = element("div", "", { class: "drawn", tabindex: "0", role: "group", "aria-label": "The way there" });
  frame.append(svg);
  return frame;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function titled(text) {
  const made = shape("title", {});
  made.textContent = text;
  return made;
}

function words(text, x, y, kind) {
  const made = shape("text", { x, y, class: kind, "text-anchor": "middle" });
  made.textContent = text;
  return made;
}

// How long a text is in letters of this size, which are wider in some scripts than in others.
function long(text, size) {
  pen.font = `${size}px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

function cut(text) {
  const letters = [...text];
  return letters.length > MOST ? `${letters.slice(0, MOST - 1).join("")}…` : text;
}
