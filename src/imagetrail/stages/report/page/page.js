"use strict";
// Without this all there is to read is there, but for what run.js brings: times, machine, commit.
const SHOWN = 15; // rows of a long table, until more are asked for

function make(tag, text, attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function row(cells) {
  const line = document.createElement("tr");
  line.append(...cells.map((cell) => make("td", cell)));
  return line;
}

function duration(seconds) {
  if (seconds < 99.5) return `${seconds.toPrecision(seconds < 1 ? 1 : 2)} s`;
  return seconds < 5400 ? `${(seconds / 60).toPrecision(2)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function energy(wattHours) {
  return wattHours < 1000 ? `${wattHours.toPrecision(2)} Wh` : `${(wattHours / 1000).toFixed(1)} kWh`;
}

function tell(run) {
  const { machine, stages } = run;
  const longest = [...stages].sort((a, b) => b.seconds - a.seconds)[0];
  document.getElementById("cost").textContent =
    `${duration(run.seconds)} for all stages on ${machine.cores} cores (${machine.processor}), ` +
    `the longest ${longest ? `${longest.stage} with ${duration(longest.seconds)}` : "unknown"}; ` +
    `about ${energy(run.watt_hours)} of energy, an estimate (${run.assumed}; nothing was metered).`;
  const date = document.getElementById("date");
  if (date) date.textContent = run.date || "an unknown day";
  document.getElementById("times").replaceChildren(
    ...stages.map((one) => row([one.stage, duration(one.seconds), `${(one.memory / 1e6).toFixed(0)} MB`])),
  );
  const facts = { commit: run.commit || "none", ...machine, ...run.versions };
  document.getElementById("machine").replaceChildren(
    ...Object.entries(facts).map((pair) => row(pair.map(String))),
  );
  const links = Object.entries(run.links).filter(([, href]) => /^https?:/.test(href));
  if (links.length) {
    const items = links.map(([text, href]) => {
      const item = document.createElement("li");
      item.append(make("a", text, { href }));
      return item;
    });
    document.getElementById("links").replaceChildren(...items);
  }
  for (const node of document.querySelectorAll(".run")) node.hidden = false;
  for (const node of document.querySelectorAll(".norun")) node.hidden = true;
}

function value(line, column) {
  const text = line.cells[column].textContent.trim();
  const number = parseFloat(text.replace(/[,\s]/g, "").replace("−", "-").replace("<", ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", head.textContent, { type: "button" });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending" || !head.hasAttribute("aria-sort");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const sign = up ? 1 : -1;
      const lines = [...body.rows].map((line) => [value(line, column), line]);
      lines.sort(([a], [b]) => (typeof a === typeof b ? sign * (a > b ? 1 : a < b ? -1 : 0) : typeof a === "number" ? -1 : 1));
      body.append(...lines.map(([, line]) => line));
      table.dispatchEvent(new Event("ordered"));
    });
  });
}

function searchable(table) {
  const lines = () => [...table.tBodies[0].rows];
  if (lines().length <= SHOWN) return;
  const label = table.getAttribute("aria-label");
  const input = make("input", "", { type: "search", placeholder: "filter", "aria-label": `filter: ${label}` });
  const button = make("button", "", { type: "button" });
  let all = false;
  const show = () => {
    const wanted = input.value.trim().toLowerCase();
    let count = 0;
    for (const line of lines()) {
      const found = line.textContent.toLowerCase().includes(wanted);
      line.hidden = !found || (!all && count >= SHOWN);
      count += found;
    }
    button.textContent = all ? `show ${SHOWN}` : `show all ${count}`;
    button.hidden = count <= SHOWN;
  };
  button.addEventListener("click", () => { all = !all; show(); });
  input.addEventListener("input", show);
  table.addEventListener("ordered", show);
  const bar = make("div", "", { class: "find" });
  bar.append(input, button);
  table.parentElement.before(bar);
  addEventListener("beforeprint", () => lines().forEach((line, i) => { line.hidden = i >= SHOWN; }));
  addEventListener("afterprint", show);
  show();
}

function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  target.scrollIntoView();
}

if (window.imagetrailRun) tell(window.imagetrailRun);
document.querySelectorAll("table.sort").forEach((table) => { sortable(table); searchable(table); });
addEventListener("hashchange", reveal);
document.addEventListener("click", (event) => {
  if (event.target.closest?.(".matrix a")) setTimeout(reveal);
});
reveal();
