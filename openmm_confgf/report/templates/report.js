"use strict";
// Texts of files reach the page through textContent and setAttribute alone: nothing here makes markup of them.
(() => {
  const { molecules, palette } = JSON.parse(document.getElementById("report-data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (parent, tag, text, attributes = {}) => {
    const node = parent.appendChild(document.createElement(tag));
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };

  // ---- tables ---------------------------------------------------------------------------------------------------------------------

  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === null || a === "") return 1; // what is not known comes last
    if (b === null || b === "") return -1;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  const sortBy = (table, header, valueOf) => {
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const known = (value) => value !== null && value !== "";
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row), row]);
    rows.sort(([a], [b]) => (up || known(a) !== known(b) ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  const cellValue = (row, place) => {
    const text = row.cells[place].textContent.trim();
    if (text === "-") return null;
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = header.querySelector("button.sort");
      if (button) button.addEventListener("click", () => sortBy(table, header, (row) => cellValue(row, header.cellIndex)));
    }
  }
  const search = byId("search");
  if (search) {
    const rows = [...byId("index").tBodies[0].rows].map((row) => [row.textContent.toLowerCase(), row]);
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      for (const [text, row] of rows) row.hidden = !text.includes(wanted);
      const left = rows.filter(([, row]) => !row.hidden).length;
      byId("found").textContent = wanted ? `${left} of ${rows.length}` : "";
    });
  }
  if (!molecules.length) return;

  // ---- what is shown --------------------------------------------------------------------------------------------------------------

  let molecule = null, columns = {}, coordinates = null, selected = 0, drawn = [], single = null;
  const viewer = makeViewer();
  const told = (column, row) => {
    const value = column.values[row];
    if (value === null || value === undefined) return "-";
    if (column.digits === null) return value;
    if (column.key === "weight" && value > 0 && value < 10 ** -column.digits) return `<${10 ** -column.digits}`;
    return value.toFixed(column.digits).replace(/^-(0\.?0*)$/, "$1");
  };
  const heading = (column) => (column.unit ? `${column.title}, ${column.unit}` : column.title);
  const nameOf = (row) => {
    const parts = [`Conformation ${told(columns.number, row)}`];
    if (columns.energy) parts.push(`${told(columns.energy, row)} kJ/mol above the lowest`);
    if (columns.weight) parts.push(`weight ${told(columns.weight, row)} % of all`);
    return parts.join(", ");
  };
  // from the lowest to the highest, but for a few far outside, which would squeeze all others
  const range = (column) => {
    const values = column.values.filter((value) => value !== null).sort((a, b) => a - b), last = values.length - 1;
    if (last < 0) return [0, 1];
    const low = values[Math.round(0.05 * last)], high = values[Math.round(0.95 * last)], beyond = 1.5 * (high - low) || Infinity;
    return [Math.max(values[0], low - beyond), Math.min(values[last], high + beyond)];
  };
  const within = (value, low, high) => Math.min(high, Math.max(low, value));
  const colourOf = (row) => {
    const column = columns[byId("colour").value], [low, high] = column.range, value = column.values[row];
    if (value === null) return "#999999";
    return palette[Math.round(((within(value, low, high) - low) / (high - low || 1)) * (palette.length - 1))];
  };

  function makeViewer() {
    const place = byId("viewer"), canvas = document.createElement("canvas");
    if (canvas.getContext("webgl2") || canvas.getContext("webgl")) {
      return $3Dmol.createViewer(place, { backgroundColor: "white", disableFog: true });
    }
    make(place, "p", "This browser draws no WebGL: the plot and the table work, the viewer stays empty.", { class: "none" });
    return null;
  }

  function atomsOf(row) {
    const hydrogens = byId("hydrogens").checked, n = molecule.elements.length, places = new Map(), atoms = [];
    for (let k = 0; k < n; k++) {
      if (!hydrogens && molecule.elements[k] === "H") continue;
      const at = 3 * (row * n + k);
      places.set(k, atoms.length);
      atoms.push({ elem: molecule.elements[k], x: coordinates[at], y: coordinates[at + 1], z: coordinates[at + 2], serial: k, index: atoms.length, bonds: [], bondOrder: [] });
    }
    for (const [a, b, order] of molecule.bonds) {
      if (!places.has(a) || !places.has(b)) continue;
      for (const [one, other] of [[places.get(a), places.get(b)], [places.get(b), places.get(a)]]) {
        atoms[one].bonds.push(other);
        atoms[one].bondOrder.push(order);
      }
    }
    return atoms;
  }
  function added(row, style) {
    const model = viewer.addModel();
    model.addAtoms(atomsOf(row));
    model.setStyle({}, style);
    return model;
  }
  function drawOverlay() {
    if (!viewer) return;
    for (const model of drawn) viewer.removeModel(model);
    const count = Math.min(Number(byId("overlay").value), molecule.count);
    drawn = [];
    // lines are one pixel wide in WebGL: thin sticks, as long as they are not too many
    const thin = count * molecule.elements.length <= 5000;
    const style = (color) => (thin ? { stick: { radius: 0.025, color } } : { line: { color } });
    for (let row = count - 1; row >= 0; row--) drawn.push(added(row, style(colourOf(row))));
  }
  function drawSelected() {
    if (!viewer) return;
    if (single) viewer.removeModel(single);
    single = molecule.count ? added(selected, { stick: { radius: 0.13, colorscheme: "Jmol" }, sphere: { scale: 0.22, colorscheme: "Jmol" } }) : null;
    viewer.render();
  }
  function frame() {
    if (!viewer) return;
    viewer.zoomTo();
    viewer.zoom(1.15);
  }

  function select(row, scroll) {
    selected = row;
    for (const node of document.querySelectorAll("#conformations tbody tr")) {
      const here = Number(node.dataset.row) === row;
      if (here) node.setAttribute("aria-current", "true");
      else node.removeAttribute("aria-current");
      if (here && scroll) node.scrollIntoView({ block: "nearest" });
    }
    let chosen = null;
    for (const point of document.querySelectorAll("#plot circle")) {
      const here = Number(point.dataset.row) === row;
      point.classList.toggle("selected", here);
      point.setAttribute("tabindex", here ? "0" : "-1");
      if (here) chosen = point;
    }
    if (chosen && chosen !== document.activeElement) chosen.parentNode.appendChild(chosen);
    byId("shown").textContent = `${nameOf(row)}.`;
    byId("viewer").setAttribute("aria-label", `${nameOf(row)}, as balls and sticks; others as lines`);
    drawSelected();
  }

  // ---- the table of conformations -------------------------------------------------------------------------------------------------

  function fillTable() {
    const table = byId("conformations"), head = table.tHead, body = table.tBodies[0];
    head.replaceChildren();
    body.replaceChildren();
    const titles = make(head, "tr");
    for (const column of molecule.columns) {
      const header = make(titles, "th", undefined, { scope: "col", "aria-sort": "none", class: column.digits === null ? "left" : "right" });
      const button = make(header, "button", heading(column), { type: "button", class: "sort" });
      button.append("\u00a0");
      make(button, "span", "", { class: "arrow", "aria-hidden": "true" });
      button.addEventListener("click", () => sortBy(table, header, (row) => column.values[Number(row.dataset.row)]));
    }
    for (let row = 0; row < molecule.count; row++) {
      const line = make(body, "tr", undefined, { "data-row": row });
      for (const column of molecule.columns) {
        if (column.key === "number") {
          const first = make(line, "th", undefined, { scope: "row" });
          make(first, "button", told(column, row), { type: "button", class: "show", "aria-label": `Show conformation ${told(column, row)}` });
        } else {
          const cell = make(line, "td", undefined, { class: column.digits === null ? "left said" : "right" });
          make(cell, "bdi", told(column, row));
        }
      }
    }
  }
  byId("conformations").tBodies[0].addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line) select(Number(line.dataset.row), false);
  });

  // ---- the plot -------------------------------------------------------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";
  const draw = (parent, tag, attributes, text) => {
    const node = parent.appendChild(document.createElementNS(SVG, tag));
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  function ticksOf(low, high) {
    const rough = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(8)));
    return ticks;
  }
  function axisOf(column) {
    if (column.unit === "°") return { low: -180, high: 180, ticks: [-180, -120, -60, 0, 60, 120, 180] };
    const [low, high] = column.range, margin = 0.04 * (high - low) || 0.5;
    return { low: low - margin, high: high + margin, ticks: ticksOf(low - margin, high + margin) };
  }
  function drawPlot() {
    const plot = byId("plot"), across = columns[byId("x-axis").value], up = columns[byId("y-axis").value];
    const width = within(plot.clientWidth || 520, 280, 620), height = width < 420 ? width : Math.min(width, 520);
    plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const x = axisOf(across), y = axisOf(up);
    const outside = (column, axis, row) => column.values[row] !== null && (column.values[row] < axis.low || column.values[row] > axis.high);
    const edge = across.values.filter((_, row) => outside(across, x, row) || outside(up, y, row)).length;
    const [left, right, top, bottom] = [60, width - 14, edge ? 30 : 12, height - 50];
    const placeX = (value) => left + ((within(value, x.low, x.high) - x.low) / (x.high - x.low)) * (right - left);
    const placeY = (value) => bottom - ((within(value, y.low, y.high) - y.low) / (y.high - y.low)) * (bottom - top);
    plot.replaceChildren();
    const frameOf = draw(plot, "g", { "aria-hidden": "true" });
    for (const tick of x.ticks) {
      draw(frameOf, "line", { x1: placeX(tick), x2: placeX(tick), y1: top, y2: bottom });
      draw(frameOf, "text", { x: placeX(tick), y: bottom + 18, "text-anchor": "middle" }, String(tick));
    }
    for (const tick of y.ticks) {
      draw(frameOf, "line", { x1: left, x2: right, y1: placeY(tick), y2: placeY(tick) });
      draw(frameOf, "text", { x: left - 8, y: placeY(tick) + 4, "text-anchor": "end" }, String(tick));
    }
    draw(frameOf, "text", { x: (left + right) / 2, y: bottom + 40, "text-anchor": "middle" }, heading(across));
    draw(frameOf, "text", { x: 16, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 16 ${(top + bottom) / 2})` }, heading(up));
    if (edge) draw(frameOf, "text", { x: right, y: 14, "text-anchor": "end" }, `${edge} beyond the axes, drawn on their edge`);
    const points = draw(plot, "g", {});
    for (let row = molecule.count - 1; row >= 0; row--) {
      if (across.values[row] === null || up.values[row] === null) continue;
      const name = `${nameOf(row)}; ${across.title} ${told(across, row)}, ${up.title} ${told(up, row)}`;
      const point = draw(points, "circle", {
        cx: placeX(across.values[row]).toFixed(1), cy: placeY(up.values[row]).toFixed(1), r: molecule.count > 150 ? 4.5 : 6,
        fill: colourOf(row), stroke: "#fff", "stroke-width": 0.8, role: "button", tabindex: "-1", "data-row": row, "aria-label": name,
      });
      draw(point, "title", {}, name);
    }
  }
  const pointAt = (node) => (node.closest ? node.closest("circle[data-row]") : null);
  byId("plot").addEventListener("click", (event) => {
    const point = pointAt(event.target);
    if (point) select(Number(point.dataset.row), true);
  });
  byId("plot").addEventListener("keydown", (event) => {
    const point = pointAt(event.target);
    if (!point) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      select(Number(point.dataset.row), true);
      return;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const along = event.key === "ArrowUp" || event.key === "ArrowDown" ? "cy" : "cx", sign = along === "cy" ? -1 : 1;
    const all = [...document.querySelectorAll("#plot circle")].sort((a, b) => sign * (a.getAttribute(along) - b.getAttribute(along)));
    const next = all[all.indexOf(point) + step];
    if (next) next.focus();
  });

  // ---- controls -------------------------------------------------------------------------------------------------------------------

  function drawLegend() {
    const column = columns[byId("colour").value], [low, high] = column.range;
    const text = (value) => told({ ...column, values: [value] }, 0), more = column.values.some((value) => value > high);
    byId("low").textContent = `${text(low)} ${column.unit}`;
    byId("high").textContent = `${text(high)} ${column.unit}${more ? " and more" : ""}`;
    byId("scale").style.background = `linear-gradient(to right, ${palette.join(", ")})`;
  }
  function fillChoices() {
    const numbers = molecule.columns.filter((column) => column.digits !== null);
    for (const [id, chosen] of [["x-axis", molecule.axes[0]], ["y-axis", molecule.axes[1]], ["colour", molecule.colour]]) {
      const list = byId(id);
      list.replaceChildren();
      for (const column of numbers) make(list, "option", heading(column), { value: column.key });
      list.value = chosen;
    }
  }
  function show(which) {
    molecule = molecules[which];
    columns = Object.fromEntries(molecule.columns.map((column) => [column.key, { ...column, range: range(column) }]));
    coordinates = new Float32Array(Uint8Array.from(atob(molecule.coordinates), (one) => one.charCodeAt(0)).buffer);
    byId("molecule-name").replaceChildren();
    if (molecules.length > 1) {
      byId("molecule-name").append(" of ");
      make(byId("molecule-name"), "bdi", molecule.name);
    }
    byId("thinned").textContent = molecule.thinned;
    if (single) viewer.removeModel(single);
    single = null;
    fillChoices();
    fillTable();
    drawPlot();
    drawLegend();
    if (!molecule.count) {
      byId("shown").textContent = "No conformation can be used: there is nothing to show.";
      return;
    }
    selected = 0;
    drawOverlay();
    select(0, false);
    frame();
    for (const line of document.querySelectorAll("#index tr[data-molecule]")) {
      if (Number(line.dataset.molecule) === which) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
  }
  let resized = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => { drawPlot(); select(selected, false); }, 150);
  });
  const onClick = (id, action) => byId(id).addEventListener("click", () => molecule.count && action());
  const stepped = (by) => {
    const rows = [...document.querySelectorAll("#conformations tbody tr")].map((line) => Number(line.dataset.row));
    select(rows[(rows.indexOf(selected) + by + rows.length) % rows.length], true);
  };
  onClick("previous", () => stepped(-1));
  onClick("next", () => stepped(1));
  onClick("left", () => viewer && viewer.rotate(-20, "y"));
  onClick("right", () => viewer && viewer.rotate(20, "y"));
  onClick("nearer", () => viewer && viewer.zoom(1.2));
  onClick("farther", () => viewer && viewer.zoom(1 / 1.2));
  onClick("reset", frame);
  for (const id of ["overlay", "hydrogens"]) byId(id).addEventListener("change", () => { drawOverlay(); drawSelected(); });
  byId("colour").addEventListener("change", () => { drawLegend(); drawPlot(); drawOverlay(); select(selected, false); });
  for (const id of ["x-axis", "y-axis"]) byId(id).addEventListener("change", () => { drawPlot(); select(selected, false); });
  const index = byId("index");
  if (index) {
    index.tBodies[0].addEventListener("click", (event) => {
      const line = event.target.closest("tr[data-molecule]");
      if (!line) return;
      show(Number(line.dataset.molecule));
      byId("explorer-title").scrollIntoView({ block: "start" });
    });
  }
  show(0);
  document.documentElement.dataset.ready = "true";
})();
