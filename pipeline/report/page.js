"use strict";
// The page reads without this script; with it, pictures can be compared and curves read off.
document.documentElement.classList.add("js");

const all = (selector, within = document) => [...within.querySelectorAll(selector)];

/* Choices: each sets an attribute that the style sheet reads. */
for (const input of all(".choice input")) {
  const apply = () => {
    if (!input.checked) return;
    document.documentElement.dataset[input.name] = input.value;
    if (input.name === "view" || input.name === "zoom") fit();
  };
  input.addEventListener("change", apply);
  if (input.checked) document.documentElement.dataset[input.name] = input.value;
}

/* Real sharpness: every pixel of a picture covers a whole number of the screen's own pixels, but on phones. */
function fit() {
  const density = window.devicePixelRatio || 1;
  const zoom = Number(document.documentElement.dataset.zoom || 1);
  const narrow = matchMedia("(max-width: 30rem)").matches;
  for (const pair of all(".pair")) {
    const room = pair.clientWidth * density;
    const [width, height] = ["--w", "--h"].map((side) => Number(pair.style.getPropertyValue(side)));
    const most = Math.max(1, Math.floor(room / width));
    const plain = Math.max(Math.round(density), Math.round((192 * density) / Math.max(width, height)));
    const whole = Math.min(most, Math.max(1, plain));
    const scale = narrow ? Math.min(room / width, (1.5 * room) / height) : whole; // a phone has no room to waste
    pair.style.setProperty("--z", (scale * zoom) / density);
    pair.classList.toggle("thin", (width * scale) / density < 130);
    pair.style.setProperty("--most-h", `${(height * scale * (zoom > 1 ? 1.25 : 1)) / density}px`);
  }
}
fit();
addEventListener("resize", fit);

/* The slider: drag anywhere on the picture, or use the arrow keys. What is zoomed follows, so that the place under the
   pointer is that of the whole picture; side by side, dragging does this alone. */
for (const stage of all(".pair.both .stage")) {
  const range = stage.querySelector("input");
  const share = (at, from, length) => Math.min(1, Math.max(0, (at - from) / length));
  let box = null; // of what is dragged over
  const show = () => {
    stage.style.setProperty("--at", `${range.value}%`);
    stage.style.setProperty("--across", range.value / 100);
  };
  const follow = (event) => {
    range.value = share(event.clientX, box.left, box.width) * 100;
    stage.style.setProperty("--down", share(event.clientY, box.top, box.height));
    show();
  };
  range.addEventListener("input", show);
  stage.addEventListener("pointerdown", (event) => {
    const { view, zoom } = document.documentElement.dataset;
    if (event.button || (view !== "slider" && zoom === "1")) return;
    box = (view === "slider" ? stage : (event.target.closest(".pane") ?? stage)).getBoundingClientRect();
    event.preventDefault();
    range.focus({ preventScroll: true, focusVisible: false });
    stage.setPointerCapture(event.pointerId);
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
}

/* Curves: one reading line over all charts. */
const curves = JSON.parse(document.getElementById("curves")?.textContent || "null");
const charts = all(".chart");
let rest = null; // what is read off while nobody points: the step of the samples shown, or nothing

function nearest(step) {
  return curves.steps.reduce((best, s, i) => (Math.abs(s - step) < Math.abs(curves.steps[best] - step) ? i : best), 0);
}

function read(place) {
  const [first, last] = [curves.first, curves.steps.at(-1)];
  const there = place !== null;
  const step = there ? curves.steps[place] : last;
  charts.forEach((chart, c) => {
    const cursor = chart.querySelector(".cursor");
    cursor.hidden = !there;
    cursor.style.left = `${((step - first) / Math.max(last - first, 1)) * 100}%`;
    chart.querySelector(".at").textContent = there ? `step ${step.toLocaleString("en")}` : "";
    const said = all("li", chart).map((entry, i) => {
      const value = entry.querySelector("b");
      value.textContent = there ? curves.values[c][i][place] : value.dataset.last;
      return `${entry.querySelector("span").textContent} ${value.textContent}`;
    });
    const plot = chart.querySelector(".plot");
    plot.setAttribute("aria-valuenow", step);
    plot.setAttribute("aria-valuetext", `step ${step.toLocaleString("en")}: ${said.join(", ")}`);
  });
}

for (const plot of all(".chart .plot")) {
  const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20 };
  const reach = (event) => {
    const box = plot.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    read(nearest(curves.first + share * (curves.steps.at(-1) - curves.first)));
  };
  plot.addEventListener("pointermove", reach);
  plot.addEventListener("pointerdown", reach);
  plot.addEventListener("pointerleave", () => read(rest));
  plot.addEventListener("blur", () => read(rest));
  plot.addEventListener("keydown", (event) => {
    const last = curves.steps.length - 1;
    const now = nearest(Number(plot.getAttribute("aria-valuenow")));
    const next = { Home: 0, End: last }[event.key] ?? now + moves[event.key];
    if (event.key === "Escape") read(rest);
    if (Number.isNaN(next)) return;
    event.preventDefault();
    read(Math.min(last, Math.max(0, next)));
  });
}

/* Samples by step; the curves follow along. */
const scrub = document.querySelector(".scrub input");
scrub?.addEventListener("input", () => {
  const grids = all(".grid");
  grids.forEach((grid, i) => (grid.hidden = i !== Number(scrub.value)));
  const step = Number(grids[scrub.value].dataset.step);
  document.querySelector(".scrub output").textContent = step.toLocaleString("en");
  if (!curves) return;
  rest = Number(scrub.value) === grids.length - 1 ? null : nearest(step);
  read(rest);
});

/* An enlarged image closes with Escape, as one expects; a click and the space bar do it without this script. */
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const box of all(".enlarge:checked")) box.checked = false;
});
