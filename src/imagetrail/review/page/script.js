"use strict";
// One page, one state: `view`. A key asks the server, which writes; then what is shown is asked anew.

const PAGE = 50; // items that are fetched at a time
const PAGES = 40; // of those, how many are kept
const AROUND = 8; // items to either side in the strip
const TINY = 200; // pixels: below that, a picture is shown by its pixels

const view = { state: null, queue: "", at: 0, member: 0, pages: new Map(), turn: 0, busy: false };
const $ = (id) => document.getElementById(id);

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// ---- the server ----

async function ask(path, sent) {
  const how = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(sent) };
  let reply;
  try {
    reply = await fetch(path, sent ? how : {});
  } catch {
    throw new Error("the server has ended; start `imagetrail review` again and open its new address");
  }
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
}

/** Runs what a key asks for. A key that comes meanwhile is not taken: it was meant for what was shown. */
async function attempt(work) {
  if (view.busy) return;
  view.busy = true;
  try {
    $("fault").hidden = true;
    await work();
  } catch (error) {
    $("fault").textContent = error.message;
    $("fault").hidden = false;
  } finally {
    view.busy = false;
  }
}

const queue = () => view.state.queues.find((one) => one.name === view.queue);
const clamp = (value) => Math.max(0, Math.min(queue().count - 1, value));

async function item(position) {
  const page = Math.floor(position / PAGE);
  if (!view.pages.has(page)) {
    if (view.pages.size >= PAGES) view.pages.delete(view.pages.keys().next().value);
    const asked = ask(`queue/${view.queue}?from=${page * PAGE}&count=${PAGE}`);
    view.pages.set(page, asked);
    asked.catch(() => view.pages.delete(page));
  }
  return (await view.pages.get(page))[position % PAGE];
}

// ---- what is shown ----

async function open(name, at) {
  view.queue = name;
  view.pages.clear();
  view.at = clamp(at ?? (await ask(`next/${name}?from=-1`)) ?? 0);
  view.member = 0;
  await show();
}

async function show() {
  const turn = ++view.turn;
  const { count, missing, title } = queue();
  history.replaceState(null, "", `#${view.queue}/${view.at + 1}`);
  showTabs();
  const list = view.queue === "unreadable";
  $("nothing").hidden = count > 0;
  $("list").hidden = !(count && list);
  $("desk").hidden = !count || list;
  if (!count) {
    const told = missing ? ["They are found by ", el("code", {}, missing)] : ["There is nothing to decide here."];
    $("nothing").replaceChildren(el("b", {}, missing ? `${title}: not looked for yet` : `${title}: none`), ...told);
    return;
  }
  if (list) return showRows(turn);
  const shown = await item(view.at);
  if (turn !== view.turn || !shown) return;
  showProgress();
  showItem(shown);
  showStrip(turn).catch(() => {});
  showAbout(shown, turn).catch(() => {});
}

function showTabs() {
  const tabs = view.state.queues.map((one) => {
    const chosen = one.name === view.queue;
    const left = one.left ? `${one.left.toLocaleString()} left` : "done";
    const counted = one.missing ? "–" : !one.count ? "none" : one.name === "unreadable" ? one.count.toLocaleString() : left;
    const props = { id: `tab-${one.name}`, role: "tab", "aria-selected": chosen, "aria-controls": "panel", tabIndex: chosen ? 0 : -1 };
    return el("button", { ...props, onclick: () => attempt(() => open(one.name)) }, one.title, el("small", {}, counted));
  });
  const focused = document.activeElement?.role === "tab";
  $("tabs").replaceChildren(...tabs);
  $("panel").setAttribute("aria-labelledby", `tab-${view.queue}`);
  $("tabs").scrollLeft = $(`tab-${view.queue}`).offsetLeft - $("tabs").offsetLeft - 20;
  if (focused) $(`tab-${view.queue}`).focus();
}

function showProgress() {
  const { count, left } = queue();
  $("at").value = view.at + 1;
  $("at").max = count;
  $("count").textContent = count.toLocaleString();
  $("progress").value = (count - left) / count;
  $("left").textContent = left ? `${left.toLocaleString()} left` : "all decided";
}

function showItem(shown) {
  const many = view.queue === "duplicates";
  view.member = Math.min(view.member, shown.members.length - 1);
  const member = shown.members[view.member];
  $("single").hidden = $("alike").hidden = many;
  $("group").hidden = $("only").hidden = !many;
  if (many) showGroup(shown);
  else showPicture(member);
  $("reason").textContent = shown.reason + (shown.more ? ` (and ${shown.more} more pictures)` : "");
  showLabels(shown, member);
  showDecision(member);
  $("accept").hidden = !shown.suggested || member.picture === null;
  $("accept-text").textContent = `accept ${shown.suggested}`;
  const long = el("span", { className: "long" }, member.label);
  $("keep-text").replaceChildren(...(many ? ["keep all"] : ["keep ", long]));
  $("keep").disabled = $("other").disabled = member.picture === null;
  showDigits(member);
}

function showPicture(member) {
  $("stage").classList.remove("zoomed");
  $("stage").setAttribute("aria-pressed", false);
  $("stage").replaceChildren(picture(member, "large", "large"));
  $("source").textContent = member.source;
}

/** An <img> of a member, or a few words where there is none. */
function picture(member, size, id = "") {
  if (member.picture === null) return el("span", { className: "gone" }, size === "large" ? "missing: no longer in the data set" : "missing");
  const image = el("img", { id, alt: `${member.source}, label ${member.label}`, loading: size === "small" ? "lazy" : "eager" });
  image.onload = () => image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) < TINY);
  image.onerror = () => image.replaceWith(el("span", { className: "gone" }, "cannot be read"));
  image.src = `picture/${member.picture}?size=${size}`;
  return image;
}

function showGroup(shown) {
  const few = shown.members.length <= 4;
  $("group").classList.toggle("few", few);
  const figures = shown.members.map((member, i) => {
    const facts = [member.split, member.source].filter(Boolean).join(" · ");
    const props = { role: "option", id: `member-${i}`, "aria-selected": i === view.member, className: member.decision ? "decided" : "" };
    const chosen = i === view.member ? el("span", { className: "hand" }, "▸ ") : null;
    return el("figure", { ...props, onclick: () => choose(i) },
      el("div", { className: "well" }, picture(member, few ? "large" : "small")),
      el("figcaption", {}, el("b", {}, chosen, member.label || "no label"), el("span", {}, told(member)), el("span", { className: "path" }, facts)));
  });
  $("group").replaceChildren(...figures);
  $("group").setAttribute("aria-activedescendant", `member-${view.member}`);
}

function choose(i) {
  view.member = i;
  attempt(show);
}

const told = (member) => {
  if (!member.decision) return "";
  const { label } = member.decision;
  return label === "drop" ? "✕ dropped " : label === member.label ? "✓ kept " : `→ ${label} `;
};

const percent = (p) => (p === null ? "" : `${(100 * p).toFixed(1)} %`);

function showLabels(shown, member) {
  const row = (kind, title, label, p) => el("div", { className: kind }, el("dt", {}, title), el("dd", {}, el("b", {}, label || "–"), el("span", {}, percent(p))), p === null ? null : bar(p));
  const rows = [row("given", "label", member.label, shown.p_label)];
  if (shown.suggested) rows.push(row("suggested", view.queue === "mistakes" ? "the model says" : "suggested", shown.suggested, shown.p_suggested));
  $("labels").replaceChildren(...rows);
}

function bar(p) {
  const filled = el("i");
  filled.style.width = `${100 * p}%`;
  return el("div", { className: "bar" }, filled);
}

function showDecision(member) {
  const by = member.decision?.by ? `by ${member.decision.by}` : "";
  $("decision").textContent = told(member) + by;
}

/** The class that a digit means: one of that name, or else the first, second … tenth. */
function ofDigit(digit) {
  const { classes } = view.state;
  return classes.includes(digit) ? digit : classes[(Number(digit) + 9) % 10];
}

function showDigits(member) {
  const now = member.decision ? member.decision.label : member.label;
  const buttons = [..."1234567890"].map((digit) => [digit, ofDigit(digit)]).filter(([, name]) => name !== undefined);
  $("digits").replaceChildren(...buttons.map(([digit, name]) => el("button", { "aria-pressed": name === now, "aria-keyshortcuts": digit, disabled: member.picture === null, onclick: () => decide(`label:${name}`) }, el("kbd", {}, digit), digit === name ? "" : ` ${name}`)));
}

async function showStrip(turn) {
  const first = Math.max(0, view.at - AROUND);
  const last = Math.min(queue().count - 1, view.at + AROUND);
  const numbers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const items = await Promise.all(numbers.map(item));
  if (turn !== view.turn) return;
  $("strip").replaceChildren(...numbers.map((number, i) => {
    const [member] = items[i].members;
    const label = `item ${number + 1}, ${member.label}${items[i].done ? ", decided" : ""}`;
    const mark = items[i].done ? el("span", { className: "mark", "aria-hidden": true }, told(member).trim()[0] ?? "✓") : null;
    return el("button", { "aria-label": label, "aria-current": number === view.at, title: label, onclick: () => move(number) }, picture(member, "small"), mark);
  }));
  const current = $("strip").querySelector("[aria-current=true]");
  $("strip").scrollLeft = current.offsetLeft - ($("strip").clientWidth - current.clientWidth) / 2;
}

async function showAbout(shown, turn) {
  const member = shown.members[view.member];
  const facts = member.split ? [["split", member.split]] : [];
  const about = member.picture === null ? { note: "" } : await ask(`about/${member.picture}`);
  if (turn !== view.turn) return;
  if (about.width) facts.push(["size", `${about.width} × ${about.height} pixels`], ["file", bytes(about.bytes)]);
  if (about.fault) facts.push(["fault", about.fault]);
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  showNeighbours(shown, member, about);
  if (about.note?.includes("so far")) setTimeout(() => turn === view.turn && showAbout(shown, turn).catch(() => {}), 1500);
}

const bytes = (count) => (count < 1e4 ? `${count} bytes` : count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`);

function showNeighbours(shown, member, about) {
  const near = about.nearest ?? [];
  const count = (label) => near.filter((one) => one.label === label).length;
  const said = [member.label, shown.suggested].filter(Boolean).map((label) => `${count(label)} of ${near.length} ${label}`);
  $("alike-note").textContent = near.length ? said.join(", ") : (about.note ?? "");
  $("neighbours").replaceChildren(...near.map((one) => {
    const as = one.label === shown.suggested ? "as suggested" : one.label === member.label ? "as labelled" : "";
    return el("li", { title: one.source }, el("div", { className: "well" }, picture(one, "small")), one.label, el("span", { className: "as" }, as));
  }));
}

async function showRows(turn) {
  const { count } = queue();
  const first = Math.floor(view.at / PAGE) * PAGE;
  const last = Math.min(count, first + PAGE);
  const items = await Promise.all(Array.from({ length: last - first }, (_, i) => item(first + i)));
  if (turn !== view.turn) return;
  $("rows").replaceChildren(...items.map((one) => el("tr", {}, el("td", {}, one.members[0].source), el("td", {}, one.reason))));
  $("rows-where").textContent = `${(first + 1).toLocaleString()}–${last.toLocaleString()} of ${count.toLocaleString()}`;
  $("rows-before").disabled = first === 0;
  $("rows-after").disabled = last === count;
}

// ---- what is done ----

const move = (to) => attempt(async () => {
  view.at = clamp(to);
  view.member = 0;
  await show();
});

const nextOpen = () => attempt(toNextOpen);

async function toNextOpen() {
  const next = await ask(`next/${view.queue}?from=${view.at}`);
  if (next === null) return show();
  view.at = next;
  view.member = 0;
  return show();
}

const decide = (choice, { all = false, others = false } = {}) => attempt(async () => {
  const { members } = await item(view.at);
  const source = all ? null : members[view.member].source;
  const { state } = await ask("decide", { queue: view.queue, position: view.at, choice, source, others });
  view.state = state;
  view.pages.clear();
  const after = await item(view.at);
  if (after.done) return toNextOpen();
  const open = after.members.findIndex((member, i) => !member.decision && i > view.member);
  view.member = Math.max(0, open);
  return show();
});

const undo = () => attempt(async () => {
  const { state, place } = await ask("undo", {});
  view.state = state;
  view.pages.clear();
  if (place) [view.queue, view.at] = place;
  view.member = 0;
  await show();
});

function zoom() {
  const stage = $("stage");
  const on = stage.classList.toggle("zoomed");
  stage.setAttribute("aria-pressed", on);
  if (on) stage.scrollTo((stage.scrollWidth - stage.clientWidth) / 2, (stage.scrollHeight - stage.clientHeight) / 2);
}

async function accept() {
  const { suggested } = await item(view.at);
  if (suggested) decide(`label:${suggested}`);
}

const many = () => view.queue === "duplicates";
const keep = () => decide("keep", { all: many() });
const only = () => many() && decide("drop", { others: true });

async function step(by) {
  if (many()) choose(Math.max(0, Math.min((await item(view.at)).members.length - 1, view.member + by)));
}

function nextQueue() {
  const names = view.state.queues.map((one) => one.name);
  attempt(() => open(names[(names.indexOf(view.queue) + 1) % names.length]));
}

// ---- any label, by its first letters ----

let offered = 0; // which of the offers is marked

function offers() {
  const typed = $("wanted").value.trim().toLowerCase();
  const rank = (name) => (name.toLowerCase().startsWith(typed) ? 0 : 1);
  const found = view.state.classes.filter((name) => name.toLowerCase().includes(typed));
  return found.sort((one, other) => rank(one) - rank(other)).slice(0, 100);
}

function showOffers() {
  const found = offers();
  offered = Math.max(0, Math.min(found.length - 1, offered));
  $("offers").replaceChildren(...found.map((name, i) => el("li", { role: "option", id: `offer-${i}`, "aria-selected": i === offered, onclick: () => take(name) }, name)));
  $("wanted").setAttribute("aria-activedescendant", `offer-${offered}`);
  $(`offer-${offered}`)?.scrollIntoView({ block: "nearest" });
}

function take(name) {
  $("chooser").close();
  if (name !== undefined) decide(`label:${name}`);
}

function openChooser() {
  if ($("other").disabled) return;
  $("wanted").value = "";
  offered = 0;
  showOffers();
  $("chooser").showModal();
}

$("wanted").oninput = () => { offered = 0; showOffers(); };
$("wanted").onkeydown = (event) => {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (by) { offered += by; showOffers(); }
  else if (event.key === "Enter") take(offers()[offered]);
  else return;
  event.preventDefault();
};

// ---- keys and clicks ----

const KEYS = {
  a: accept, k: keep, x: () => decide("drop"), delete: () => decide("drop"), o: only, l: openChooser, "/": openChooser, u: undo,
  arrowright: () => move(view.at + 1), arrowleft: () => move(view.at - 1), n: nextOpen, z: zoom, arrowdown: () => step(1), arrowup: () => step(-1), t: nextQueue,
};
const BUTTONS = { accept, keep, only, undo, drop: () => decide("drop"), other: openChooser, before: KEYS.arrowleft, after: KEYS.arrowright, stage: zoom, "rows-before": () => move(view.at - PAGE), "rows-after": () => move(view.at + PAGE) };
const ANYWHERE = new Set(["u", "t"]); // the other keys are about the item that is shown

document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "z") { event.preventDefault(); undo(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || $("chooser").open) return;
  if (["enter", " "].includes(key) && event.target === $("stage")) { event.preventDefault(); zoom(); return; }
  const names = view.state?.queues.map((one) => one.name);
  if (event.target.role === "tab" && ["arrowright", "arrowleft"].includes(key)) {
    const to = (names.indexOf(view.queue) + (key === "arrowright" ? 1 : -1) + names.length) % names.length;
    attempt(() => open(names[to]));
    return;
  }
  const work = /^\d$/.test(key) && ofDigit(key) !== undefined ? () => decide(`label:${ofDigit(key)}`) : KEYS[key];
  if (!work || !view.state || ($("desk").hidden && !ANYWHERE.has(key))) return;
  event.preventDefault();
  work();
});
for (const [id, work] of Object.entries(BUTTONS)) $(id).onclick = work;
$("at").onchange = () => move(Number($("at").value) - 1);

attempt(async () => {
  view.state = await ask("state");
  $("name").textContent = view.state.name;
  document.title = `Review ${view.state.name}`;
  $("by").textContent = view.state.by ? `, by ${view.state.by}` : "";
  const [name, at] = location.hash.slice(1).split("/");
  const known = view.state.queues.find((one) => one.name === name);
  const first = view.state.queues.find((one) => one.left && one.name !== "unreadable") ?? view.state.queues[0];
  await open(known ? name : first.name, known && at ? Number(at) - 1 : undefined);
});
