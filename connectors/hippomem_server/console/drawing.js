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

// A row of nodes: the question, and for each step the name that it went by and the passage that it came to, with the
// first fact between them on the line. What would come beyond `room` goes on in a further row; a long node scrolls.
export function drawnPath(path, room) {
  const nodes = [{ label: "question", kind: "question", relation: "" }];
  for (const step of path.steps) {
    nodes.push({ label: cut(step.entity), kind: "entity", relation: "" });
    const relation = cut(step.facts[0]?.relation ?? "");
    nodes.push({ label: cut(step.passage_title || "(untitled)"), kind: "passage", relation });
  }
  const svg = shape("svg", { role: "img" });
  svg.append(titled(path.text));
  let [right, middle, widest] = [1, ROW / 2, 0];
  nodes.forEach((node, place) => {
    const width = long(node.label, 13) + 20;
    const gap = place ? Math.max(28, long(node.relation, 11) + 12) : 0;
    if (place && right + gap + width + 11 > room) {
      svg.append(shape("path", { class: "edge", d: `M ${right} ${middle} h 10 v ${ROW / 2} H 1 v ${ROW / 2}` }));
      widest = Math.max(widest, right + 10);
      [right, middle] = [1, middle + ROW];
    }
    if (place) svg.append(shape("path", { class: "edge", d: `M ${right} ${middle} h ${gap}` }));
    if (node.relation) svg.append(words(node.relation, right + gap / 2, middle - 7, "relation"));
    right += gap;
    const round = node.kind === "passage" ? 3 : HEIGHT / 2;
    const box = { class: `node ${node.kind}`, x: right, y: middle - HEIGHT / 2, width, height: HEIGHT, rx: round };
    svg.append(shape("rect", box), words(node.label, right + width / 2, middle + 4, "label"));
    right += width;
    widest = Math.max(widest, right);
  });
  const [wide, high] = [widest + 1, middle + ROW / 2];
  for (const [name, value] of Object.entries({ width: wide, height: high, viewBox: `0 0 ${wide} ${high}` })) {
    svg.setAttribute(name, value);
  }
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
