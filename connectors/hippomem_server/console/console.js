// The page: signing in, and what can be done inside.

import { Client, Left, Problem } from "./client.js";
import { drawnPath, element } from "./drawing.js";

const KEPT = "hippomem.token"; // in the session's storage, which goes with the tab
const PAGE = 20;
const BORDERS = 40; // of an item of a list, with what is between them and its content
const RESULTS = ["found", "listed", "counts", "sources"];
const $ = (id) => document.getElementById(id);

let client = null;
let mayWrite = false;
let source = ""; // of what is listed, which may be another one than is typed by now
const turns = {}; // by part, the last time that it was asked for something

// -- signing in and out ------------------------------------------------------------------------------------------------

async function enter(token) {
  if (/[^!-~]/.test(token)) throw new Problem(401, "no token has such letters"); // which cannot even be sent
  client?.leave();
  client = new Client(token);
  const bearer = await client.bearer();
  sessionStorage.setItem(KEPT, token);
  mayWrite = bearer.access === "write";
  const named = bearer.namespaces.filter((name) => name !== "*");
  client.namespace = named[0] ?? "default";
  $("namespace").value = client.namespace;
  $("namespaces").replaceChildren(...named.map((name) => element("option", "", { value: name })));
  for (const one of document.querySelectorAll(".writes")) one.hidden = !mayWrite;
  $("entrance").hidden = true;
  $("inside").hidden = $("place").hidden = false;
  say(`Signed in as ${bearer.name}, to ${bearer.access}.`);
  await show("recall");
}

function leave(why = "Signed out.", kept = null) {
  sessionStorage.removeItem(KEPT);
  client?.leave();
  client = null;
  $("confirm").close("no");
  for (const id of [...RESULTS, "namespaces", "doomed"]) $(id).replaceChildren();
  for (const form of document.forms) if (form !== kept) form.reset();
  $("inside").hidden = $("place").hidden = true;
  $("entrance").hidden = false;
  $("token").focus();
  say(why);
}

// -- parts -------------------------------------------------------------------------------------------------------------

async function show(part) {
  for (const button of document.querySelectorAll("nav button")) {
    const isShown = button.dataset.part === part;
    $(button.dataset.part).hidden = !isShown;
    if (isShown) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  if (part === "recall") $("query").focus();
  if (part === "add") $("text").focus();
  if (part === "browse") await browse();
  if (part === "stats") await figures();
}

// An answer, or what went wrong, where nothing else was asked for in this part meanwhile.
function latest(part, asked) {
  const turn = (turns[part] = {});
  return asked.finally(() => {
    if (turns[part] !== turn) throw new Left();
  });
}

async function recall() {
  const query = $("query").value;
  const asked = { query, k: Number($("k").value), deep: $("deep").checked };
  const found = await latest("recall", client.post("recall", asked));
  const paths = new Map(found.paths.map((path) => [path.passage_id, path]));
  $("found").replaceChildren(...found.passages.map((one) => recalled(query, one, paths.get(one.id))));
  const count = found.passages.length;
  say(count ? `${count} passages in ${Math.round(found.timings_ms.total)} ms.` : "Nothing remembered answers this.");
}

// With two decimals; what is rounded to nothing has no sign.
function figure(value) {
  return (Math.round(100 * value) / 100 + 0).toFixed(2);
}

function recalled(query, passage, path) {
  const item = shown(passage);
  item.prepend(element("span", figure(passage.score), { class: "score", title: "score" }));
  const why = element("details");
  why.append(element("summary", "Why"));
  for (const reason of passage.why) why.append(element("p", reason, { class: "facts", dir: "auto" }));
  if (path) why.append(drawnPath(path, $("found").clientWidth - BORDERS));
  why.append(table(Object.entries(passage.causes).filter(([, value]) => value !== 0), "Cause", "Score"));
  why.open = true;
  item.querySelector(".actions").before(why);
  if (mayWrite) {
    const useful = element("button", "This helped", { type: "button" });
    useful.addEventListener("click", () =>
      attempt(async () => {
        useful.disabled = true; // a second click would teach it twice
        await client.post("feedback", { query, useful: [passage.id] }).catch((error) => {
          useful.disabled = false;
          throw error;
        });
        say("Noted: questions like this one will find it sooner.");
      }),
    );
    item.querySelector(".actions").prepend(useful);
  }
  return item;
}

async function add() {
  const told = { text: $("text").value, title: $("about").value, session: $("session").value || null };
  const button = $("adding").querySelector("button");
  button.disabled = true; // a second click would be told that this was remembered already
  const event = await client.post("memories", told).finally(() => (button.disabled = false));
  if ($("text").value === told.text) {
    $("adding").reset(); // unless the next is being typed
    $("text").focus();
  }
  say(event.created ? "Remembered." : "This was remembered already.");
}

async function browse() {
  const wanted = $("source").value;
  const page = await latest("browse", listed(wanted, 0));
  source = wanted;
  $("listed").replaceChildren();
  list(page);
  const sources = await client.get("sources", { limit: 1000 });
  $("sources").replaceChildren(...sources.items.map((name) => element("option", "", { value: name })));
}

// From what is shown on, of which some may have been forgotten.
async function more() {
  list(await latest("browse", listed(source, $("listed").children.length)));
}

function listed(from, offset) {
  return client.get("memories", { limit: PAGE, offset, ...(from && { source: from }) });
}

function list(page) {
  $("listed").append(...page.items.map(shown));
  $("more").hidden = page.next_offset === null;
  const count = $("listed").children.length;
  say(count ? `${count} memories shown.` : "Nothing is remembered here.");
}

async function figures() {
  const counts = await latest("stats", client.get("stats"));
  $("counts").replaceChildren(...rows(flat(counts)));
  say(`The namespace ${counts.namespace} holds ${counts.passages} passages.`);
}

// -- one memory --------------------------------------------------------------------------------------------------------

function shown(passage) {
  const item = element("li", "", { "data-id": passage.id });
  item.append(element("h3", passage.title || passage.source || "(untitled)", { dir: "auto" }));
  item.append(element("p", passage.text, { class: "text", dir: "auto" }));
  const facts = element("p", "", { class: "facts" });
  const happened = passage.occurred_at ?? passage.recorded_at;
  for (const fact of [passage.source, passage.session && `session ${passage.session}`, happened?.slice(0, 10)]) {
    if (fact) facts.append(facts.firstChild ? " · " : "", element("bdi", fact));
  }
  item.append(facts);
  const actions = element("div", "", { class: "actions" });
  if (mayWrite) {
    const forget = element("button", "Forget", { type: "button", class: "danger" });
    forget.addEventListener("click", () => attempt(() => forgotten(passage)));
    actions.append(forget);
  }
  item.append(actions);
  return item;
}

async function forgotten(passage) {
  const dialog = $("confirm");
  $("doomed").textContent = passage.text.slice(0, 300);
  dialog.returnValue = "no"; // what closes it with Escape
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  if (dialog.returnValue !== "yes") return;
  await client.remove(`memories/${encodeURIComponent(passage.id)}`);
  for (const item of document.querySelectorAll("[data-id]")) if (item.dataset.id === passage.id) item.remove();
  say("Forgotten.");
}

function table(pairs, what, much) {
  const made = element("table");
  const head = element("tr");
  head.append(element("th", what, { scope: "col" }), element("th", much, { scope: "col" }));
  made.append(head, ...rows(pairs.map(([name, value]) => [name, figure(value)])));
  return made;
}

function rows(pairs) {
  return pairs.map(([name, value]) => {
    const row = element("tr");
    row.append(element("th", name, { scope: "row" }), element("td", String(value), { class: "number" }));
    return row;
  });
}

function flat(counts, prefix = "") {
  return Object.entries(counts).flatMap(([name, value]) => {
    if (typeof value === "number") return [[prefix + name, value.toLocaleString()]];
    return value && typeof value === "object" && !Array.isArray(value) ? flat(value, `${prefix}${name}, `) : [];
  });
}

// -- what happens when -------------------------------------------------------------------------------------------------

function say(text, isWrong = false) {
  $("said").textContent = text;
  $("said").classList.toggle("wrong", isWrong);
}

async function attempt(deed) {
  try {
    await deed();
  } catch (error) {
    if (error instanceof Left) return;
    if (!(error instanceof Problem)) throw error;
    const isUnknown = error.status === 401;
    if (isUnknown) leave("", $("adding")); // a server that was started anew takes no note away that is being written
    say(isUnknown ? "This token is not known to the server." : error.message, true);
  }
}

function on(id, deed) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(deed);
  });
}

function open() {
  client.leave();
  client = new Client(client.token, $("namespace").value);
  for (const id of RESULTS) $(id).replaceChildren();
}

// A deed in the namespace that the page names, also where that was typed and not opened.
function inside(deed) {
  return () => {
    $("namespace").value ||= client.namespace;
    if ($("namespace").value !== client.namespace) open();
    return deed();
  };
}

on("enter", () => enter($("token").value.trim()));
on("asking", inside(recall));
on("adding", inside(add));
on("browsing", inside(browse));
on("place", async () => {
  open();
  await show(document.querySelector("nav button[aria-current]").dataset.part);
});
$("leave").addEventListener("click", () => leave());
$("more").addEventListener("click", () => attempt(more));
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => attempt(inside(() => show(button.dataset.part))));
}

// The token in the address, which no server is sent.
function given() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) history.replaceState(null, "", location.pathname);
  return token;
}

// As when the address of a new run is pasted where the console is open: the page is not loaded anew.
addEventListener("hashchange", () => {
  const token = given();
  if (!token) return;
  if (client) leave();
  attempt(() => enter(token));
});
const token = given() ?? sessionStorage.getItem(KEPT);
if (token) attempt(() => enter(token));
else $("token").focus();
