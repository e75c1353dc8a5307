"""How a page looks and moves: one style sheet and one script, as a page carries them.

They are Python so that they travel wherever the package does, a Flower app bundle included.
"""

STYLE = """
:root { --ink: #1b1f24; --page: #fff; --soft: #57606a; --line: #d8dee4; --box: #f6f8fa;
  --link: #0060a0; --alarm: #c04a00; color-scheme: light dark;
  font: 100%/1.5 system-ui, sans-serif }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --page: #0d1117; --soft: #9aa4af;
  --line: #30363d; --box: #161b22; --link: #6cb6ff; --alarm: #ff9a57 } }
@media print { :root { --ink: #000; --page: #fff; --soft: #444; --line: #ccc; --box: #f6f6f6;
  --link: #000; --alarm: #c04a00; font-size: 80%; color-scheme: light } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 72rem; padding: 1rem clamp(.8rem, 3vw, 2rem) 4rem;
  color: var(--ink); background: var(--page) }
h1 { font-size: 1.35rem; line-height: 1.2; margin: .2rem 0 .4rem }
h2 { font-size: 1.1rem; display: inline; margin: 0 }
h3 { font-size: 1rem; margin: 1.5rem 0 0 } p, li, figcaption { max-width: 46rem }
a { color: var(--link) } :focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
.note, figcaption { color: var(--soft); font-size: .9rem }
.lead { font-size: clamp(1.05rem, 2.5vw, 1.15rem) }
.warning { border-left: .3rem solid var(--alarm); padding-left: .8rem }
.section { border-top: 1px solid var(--line) } .section > summary { padding: .7rem 0 }
.ranked { width: 100% } .ranked td, .ranked th { padding: .35rem .4rem; text-align: left }
.ranked th:first-child { white-space: normal; overflow-wrap: anywhere; width: 45% }
.ranked small { color: var(--soft); font-weight: 400; display: block }
.ranked .best th, .ranked .best td:first-of-type { font-weight: 700 }
.ranked .best { background: var(--box) } .ranked svg { vertical-align: middle; margin-right: .4rem }
.ranked .bar { display: block; height: .45rem; background: var(--soft); border-radius: .2rem;
  min-width: 2px } .ranked td:last-child { width: 24% }
figure { margin: 0 0 1.5rem } .plot { width: 100%; position: relative }
.still { position: absolute } .still svg { width: 100%; height: 100% }
.still path { vector-effect: non-scaling-stroke } .still path:not([fill]) { fill: none }
.still .grid { stroke: var(--line) } .still .dot { stroke-linecap: round }
.still span { position: absolute; font: 12px/1 sans-serif; white-space: nowrap }
.still .below { top: calc(100% + 6px); transform: translateX(-50%) }
.still .beside { right: calc(100% + 6px); transform: translateY(50%) }
.still .end { left: calc(100% + 6px); transform: translateY(50%) }
.still .within { font-size: 11px; transform: translateY(50%) }
.scroll { overflow-x: auto } .data .scroll { max-height: 32rem; overflow-y: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top }
thead th { position: sticky; top: 0; background: var(--page) }
th:first-child { white-space: nowrap } th:first-child, .prose :last-child { text-align: left }
.prose td:last-child { min-width: 16rem } tbody th { font-weight: 600 }
pre { background: var(--box); padding: .8rem; overflow-x: auto; font-size: .85rem }
summary { cursor: pointer; color: var(--link); padding: .3rem 0 }
.part > summary { font-weight: 600 }
fieldset.switch { border: 1px solid var(--line); border-radius: .4rem; display: inline-flex;
  flex-wrap: wrap; gap: .2rem 1rem; padding: .3rem .8rem; margin: .5rem 0 }
.switch label { padding: .2rem 0 } .slider { display: flex; align-items: center; gap: .6rem }
.slider input { flex: 1; max-width: 30rem; min-height: 2rem } output { font-weight: 600 }
.plot text:not(.annotation-text) { fill: var(--ink) !important }
.plot .hoverlayer text { fill: #1b1f24 !important }
.plot .gridlayer path, .plot .zerolinelayer path { stroke: var(--line) !important }
.plot .modebar-btn path { fill: var(--soft) !important }
.plot .modebar-group { background: none !important }
@media (max-width: 600px) { th:first-child { white-space: normal; min-width: 7rem }
  .cases tr { display: grid; grid-template-columns: repeat(3, 1fr) }
  .cases th:first-child { grid-column: 1 / -1; width: auto; border: 0; padding-bottom: 0 }
  .cases td:last-child { width: auto } .still .end { display: none }
  .still { right: 8px !important } }
@media print { @page { margin: 14mm } .data, .slider input, fieldset.switch, .modebar {
  display: none }
  body { max-width: none; padding: 0 } figure, tr { break-inside: avoid }
  h2, h3, summary { break-after: avoid } .scroll { overflow: visible }
  thead th { position: static } th:first-child { white-space: normal }
  pre { white-space: pre-wrap } table { font-size: .75rem }
  th, td { padding: .2rem .3rem } }
"""

FIT = """
// A phone has no room beside a chart: what stands there goes below it.
function fit(chart) {
  if (innerWidth >= 600) return;
  Object.assign(chart.layout.margin, { l: Math.min(chart.layout.margin.l, 48), r: 8 });
  Object.assign(chart.layout.legend, { y: 0, yref: "container", yanchor: "bottom" });
  if (chart.layout.annotations) Object.assign(chart.layout, { annotations: [], showlegend: true });
}
"""

SCRIPT = """
"use strict";
// fit
// Charts are data until they are seen: parsed and drawn at first sight, redrawn by native controls.
// So is the library that draws them: it is packed until there is something to draw.
const drawn = new Set(), ready = new Set();
let library = null;

function unpacked(source) {
  const packed = atob(source.textContent);
  const bytes = new Uint8Array(packed.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = packed.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function unpack() {
  const script = document.createElement("script");
  script.textContent = await unpacked(document.getElementById("library"));
  document.head.append(script);
}

async function draw(source) {
  const box = document.getElementById(source.dataset.plot);
  if (drawn.has(box)) return;
  drawn.add(box);
  await (library ??= unpack());
  const chart = JSON.parse(source.textContent);
  box.range = chart.layout.xaxis && chart.layout.xaxis.range;
  box.rounds = (chart.frames || []).map((frame) => frame.name);
  chart.config = { displaylogo: false, responsive: true,
    modeBarButtons: [["toImage", "resetScale2d"]] };
  fit(chart);
  box.replaceChildren();
  Plotly.newPlot(box, chart).then(() => { ready.add(box); putOnAxis(box); });
}

function drawInside(root) {
  for (const source of root.querySelectorAll("script[data-plot]"))
    if (!source.closest("details:not([open])")) draw(source);
}

// What is closed and long is packed as well, until it is opened.
async function unfold(part) {
  const packed = part.querySelector(":scope > script.packed");
  if (packed) {
    packed.remove();
    part.insertAdjacentHTML("beforeend", await unpacked(packed));
  }
  drawInside(part);
}

function putOnAxis(box) {
  const chosen = document.querySelector("input[name=axis]:checked");
  if (!chosen || !box.data.some((trace) => trace.meta && trace.meta.axes)) return;
  const cut = chosen.defaultChecked && box.range;
  Plotly.update(
    box,
    { x: box.data.map((trace) => trace.meta.axes[chosen.value]) },
    { "xaxis.title.text": chosen.dataset.title,
      ...(cut ? { "xaxis.range": [...cut] } : { "xaxis.autorange": true }) },
  );
}

function slide(slider) {
  const box = document.getElementById(slider.dataset.slides);
  const name = box.rounds[Number(slider.value)];
  slider.setAttribute("aria-valuetext", `round ${name}`);
  slider.parentElement.querySelector("output").value = name;
  Plotly.animate(box, [name], { mode: "immediate", transition: { duration: 0 },
    frame: { duration: 0, redraw: true } });
}

// What is linked to opens, with all that it stands in.
function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  for (let part = target; part; part = part.parentElement)
    if (part.matches("details")) part.open = true;
  if (target) target.scrollIntoView();
}

addEventListener("hashchange", reveal);
addEventListener("toggle", (event) => {
  if (event.target.matches("details.part[open]")) unfold(event.target);
}, true);
addEventListener("change", (event) => {
  if (event.target.matches("input[name=axis]")) ready.forEach(putOnAxis);
});
addEventListener("input", (event) => {
  if (event.target.matches("input[data-slides]")) slide(event.target);
});
// Paper has no folds, and is narrower than the window; a chart's width is fixed when it is drawn.
let folds = [];
addEventListener("beforeprint", () => {
  folds = [...document.querySelectorAll("details.section:not([open])")];
  for (const part of folds) part.open = true;
  drawInside(document);
  ready.forEach((box) => Plotly.relayout(box, { width: 640 }));
});
addEventListener("afterprint", () => {
  for (const part of folds) part.open = false;
  ready.forEach((box) => Plotly.relayout(box, { width: null, autosize: true }));
});
drawInside(document);
reveal();
""".replace("// fit", FIT.strip())
