"use strict";
const charts = JSON.parse(document.getElementById("data").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const printing = matchMedia("print");
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const parts = [...document.querySelectorAll("[data-h]")];
const radios = [...document.querySelectorAll("[name=horizon]")];

function layout(chart) {
  const axis = { gridcolor: css("--rule"), zeroline: false, automargin: true };
  const marks = chart.marks.map(m => m.type === "line" ? { ...m, line: { ...m.line, color: css("--quiet") } } : m);
  return { height: chart.height, margin: { l: 50, r: 8, t: 8, b: 32 }, hovermode: "closest", dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--ink"), size: 12 },
    showlegend: chart.legend, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, shapes: marks,
    xaxis: { ...axis, ...chart.x }, yaxis: { ...axis, ...chart.y } };
}

// Pixels on A4 and letter paper; a chart cannot ask how wide its column will be there.
function paperWidth(place) {
  return place.closest(".small") ? 220 : place.closest(".paired") ? 335 : 680;
}

function draw() {
  for (const place of document.querySelectorAll(".chart")) {
    if (place.closest("[hidden]")) continue;
    const chart = charts[place.id];
    const shape = { ...layout(chart), ...(printing.matches ? { width: paperWidth(place) } : { autosize: true }) };
    Plotly.react(place, chart.traces, shape, { responsive: true, displayModeBar: false });
  }
}

function choose(h) {
  for (const part of parts) part.hidden = part.dataset.h !== h;
  draw();
}

function sort(head, cells) {
  const down = head.getAttribute("aria-sort") === "descending";
  const rows = [...head.closest("table").tBodies[0].rows];
  const value = row => {
    const text = row.cells[cells].textContent.trim(), number = parseFloat(text);
    return Number.isNaN(number) ? null : number;
  };
  const key = new Map(rows.map(row => [row, cells ? value(row) : row.cells[0].textContent]));
  const side = down ? 1 : -1;
  rows.sort((a, b) => {
    const [x, y] = [key.get(a), key.get(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return x < y ? -side : x > y ? side : 0;
  });
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "ascending" : "descending");
  head.closest("table").tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, i));
  });
}

async function start() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  const several = radios.length > 1;
  document.querySelector(".switch").hidden = !several;
  radios.forEach(radio => radio.addEventListener("change", () => choose(radio.value)));
  choose(radios[0].value);
  dark.addEventListener("change", draw);
  printing.addEventListener("change", draw);
  document.documentElement.dataset.ready = "yes";
}
if (typeof DecompressionStream === "undefined") document.querySelector(".unsupported").hidden = false;
else start();
