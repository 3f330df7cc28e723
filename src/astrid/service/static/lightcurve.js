// A light curve with its upper limits, by uPlot: magnitudes upwards to the bright side, a shape and a colour for each band.

import { element } from "./dom.js";

const SHAPES = { g: "circle", r: "square", i: "diamond", z: "triangle", u: "cross", y: "star" };
const HEIGHT = 210;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Draws into an element; what is given to `show` replaces what was there. */
export class LightCurve {
  #holder;
  #plot = null;
  #curve = null;
  #readout;

  constructor(holder) {
    this.#holder = holder;
    this.#readout = element("p", { class: "readout", "aria-hidden": "true" });
    const fit = () => {
      if (this.#plot && holder.clientWidth) this.#plot.setSize({ width: holder.clientWidth, height: this.#height() });
    };
    new ResizeObserver(fit).observe(holder);
    dark.addEventListener("change", () => this.#curve && this.show(this.#curve));
  }

  #height() {
    return Number(this.#holder.dataset.height) || HEIGHT;
  }

  /** @param curve {mjd, mag, err, limit, band, positive, forced, now, time_scale}: lists of equal length */
  show(curve) {
    this.#plot?.destroy();
    this.#plot = null;
    this.#curve = curve;
    const n = curve.mjd.length;
    const bands = [...new Set(curve.band)].sort();
    const limits = curve.limit.filter(Boolean).length;
    this.#holder.setAttribute("role", "img");
    this.#holder.setAttribute(
      "aria-label",
      n ? `Light curve: ${n - limits} detections and ${limits} upper limits in ${bands.join(", ")}` : "No light curve",
    );
    this.#readout.textContent = "";
    if (!n) {
      this.#holder.replaceChildren(element("p", { class: "none" }, "no measurement with a magnitude"));
      return;
    }
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ink = colour("--soft");
    const of = (band) => colour(`--band-${/^[ugrizy]$/.test(band) ? band : "other"}`);
    const axis = { stroke: ink, grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const [first, last] = range(curve.mjd, 0.5);
    const [bright, faint] = magnitudes(curve);
    const paint = (plot) => this.#paint(plot, curve, of, colour("--ink"));
    this.#holder.replaceChildren();
    this.#plot = new uPlot(
      {
        width: this.#holder.clientWidth || 400,
        height: this.#height(),
        padding: [8, 26, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: false, range: (_, low, high) => (low === curve.mjd[0] ? [first, last] : [low, high]) },
          y: { dir: -1, range: [bright, faint] },
        },
        axes: [
          { ...axis, font, size: 32, values: (_, values) => days(values) },
          { ...axis, font, size: 52, values: (_, values) => values.map((value) => value.toFixed(1)) },
        ],
        series: [{}, { stroke: ink, paths: () => null, points: { show: false } }],
        cursor: { points: { show: false }, y: false, drag: { x: true, y: false } },
        hooks: { draw: [paint], setCursor: [(plot) => this.#tell(plot, curve)] },
      },
      [curve.mjd, curve.mag],
      this.#holder,
    );
    const key = element(
      "p",
      { class: "key-line" },
      bands.map((band) => element("span", { class: `band band-${SHAPES[band] ? band : "other"}` }, band || "no band")),
      limits ? element("span", { class: "band band-limit" }, "upper limit") : null,
      element("span", { class: "unit" }, `AB mag over MJD${curve.time_scale ? ` (${curve.time_scale.toUpperCase()})` : ""}`),
    );
    this.#holder.append(key, this.#readout);
  }

  #tell(plot, curve) {
    const k = plot.cursor.idx;
    if (k === null || k === undefined) {
      this.#readout.textContent = "";
      return;
    }
    const value = curve.limit[k]
      ? `fainter than ${curve.mag[k].toFixed(2)}`
      : `${curve.mag[k].toFixed(2)}${curve.err[k] === null ? "" : ` ± ${curve.err[k].toFixed(2)}`}`;
    const more = [curve.forced[k] ? "forced" : "", curve.positive[k] === false ? "fainter than the reference" : ""];
    this.#readout.textContent = [`${curve.mjd[k].toFixed(4)}`, curve.band[k], value, ...more].filter(Boolean).join(" · ");
  }

  #paint(plot, curve, colour, ink) {
    const context = plot.ctx;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = plot.bbox;
    context.save();
    context.beginPath();
    context.rect(left, top - 4 * ratio, width + 8 * ratio, height + 4 * ratio);
    context.clip();
    context.lineWidth = 1.3 * ratio;
    for (let k = 0; k < curve.mjd.length; k++) {
      const x = plot.valToPos(curve.mjd[k], "x", true);
      const y = plot.valToPos(curve.mag[k], "y", true);
      context.strokeStyle = context.fillStyle = colour(curve.band[k]);
      if (curve.limit[k]) {
        mark(context, "limit", x, y, 4 * ratio, false);
        continue;
      }
      if (curve.err[k] !== null) {
        context.beginPath();
        context.moveTo(x, plot.valToPos(curve.mag[k] - curve.err[k], "y", true));
        context.lineTo(x, plot.valToPos(curve.mag[k] + curve.err[k], "y", true));
        context.stroke();
      }
      mark(context, SHAPES[curve.band[k]] ?? "circle", x, y, 3.6 * ratio, curve.positive[k] !== false);
      if (curve.now[k]) {
        context.strokeStyle = ink;
        context.beginPath();
        context.arc(x, y, 8 * ratio, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    context.restore();
  }
}

/** The points of a shape, or an arc: filled where the source is brighter than in the reference. */
function mark(context, shape, x, y, size, filled) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - size * 0.88, y - size * 0.88, 1.76 * size, 1.76 * size);
  else if (shape === "diamond") polygon(context, x, y, size * 1.25, [0, 0.25, 0.5, 0.75]);
  else if (shape === "triangle") polygon(context, x, y, size * 1.25, [0, 1 / 3, 2 / 3]);
  else if (shape === "limit") polygon(context, x, y, size, [0.5, 0.5 + 1 / 3, 0.5 + 2 / 3]);
  else {
    const arms = shape === "star" ? [0, 1 / 6, 1 / 3] : [0.125, 0.375];
    for (const turn of arms) {
      const [dx, dy] = [Math.sin(2 * Math.PI * turn) * size * 1.2, Math.cos(2 * Math.PI * turn) * size * 1.2];
      context.moveTo(x - dx, y - dy);
      context.lineTo(x + dx, y + dy);
    }
    context.stroke();
    return;
  }
  context.stroke();
  if (filled && shape !== "limit") context.fill();
}

function polygon(context, x, y, size, turns) {
  turns.forEach((turn, k) => {
    const [px, py] = [x + size * Math.sin(2 * Math.PI * turn), y - size * Math.cos(2 * Math.PI * turn)];
    if (k) context.lineTo(px, py);
    else context.moveTo(px, py);
  });
  context.closePath();
}

function range(values, least) {
  const [low, high] = [values[0], values[values.length - 1]];
  const margin = Math.max(0.04 * (high - low), least);
  return [low - margin, high + margin];
}

function magnitudes(curve) {
  let [bright, faint] = [Infinity, -Infinity];
  curve.mag.forEach((mag, k) => {
    const error = Math.min(curve.err[k] ?? 0, 1); // one bad point must not flatten the rest
    bright = Math.min(bright, mag - error);
    faint = Math.max(faint, mag + error);
  });
  const margin = Math.max(0.08 * (faint - bright), 0.15);
  return [bright - margin, faint + margin];
}

/** As many digits as the steps need, the same for all. */
function days(values) {
  const step = values.length > 1 ? values[1] - values[0] : 1;
  const digits = step % 1 === 0 ? 0 : Math.min(5, Math.max(1, Math.ceil(-Math.log10(step % 1 || 1))));
  return values.map((value) => value.toFixed(digits));
}
