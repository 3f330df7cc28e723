// Cutouts on a canvas, drawn from their pixels: how they are stretched is a choice of the eye, made in the browser.

import { element } from "./dom.js";

/** A candidate as the server packs it: the length of a JSON text, that text, and the pixels of its planes. */
export function unpack(buffer) {
  const view = new DataView(buffer);
  const length = view.getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const plane of facts.planes) {
    if (plane.problem) continue;
    plane.pixels = new Float32Array(buffer, 4 + length + 4 * plane.offset, plane.nx * plane.ny);
    plane.levels = null;
  }
  return facts;
}

/** Black, white and softening of a plane, by all three stretches; made once. */
function levels(plane) {
  if (plane.levels) return plane.levels;
  const good = plane.pixels.filter((value) => Number.isFinite(value)).sort();
  if (good.length === 0) return (plane.levels = null);
  const at = (share) => good[Math.min(good.length - 1, Math.floor(share * good.length))];
  const middle = at(0.5);
  const sigma = robust(good, middle) || (at(0.99) - at(0.01)) / 4 || 1;
  plane.levels = {
    linear: [at(0.005), Math.max(at(0.995), at(0.005) + 1e-9)],
    asinh: [middle - 2.5 * sigma, Math.max(good[good.length - 1], middle + 10 * sigma), 3 * sigma],
    zscale: zscale(good, middle),
  };
  return plane.levels;
}

function robust(good, middle) {
  const away = good.map((value) => Math.abs(value - middle)).sort();
  return 1.4826 * away[away.length >> 1];
}

/** The levels that IRAF's display finds: a line fitted to the sorted pixels, without those far from it. */
export function zscale(good, middle, contrast = 0.25) {
  const n = good.length;
  const first = good[0];
  const last = good[n - 1];
  const kept = new Uint8Array(n).fill(1);
  let slope = 0;
  let left = n;
  for (let turn = 0; turn < 5; turn++) {
    let [count, sx, sy, sxx, sxy] = [0, 0, 0, 0, 0];
    for (let k = 0; k < n; k++) {
      if (!kept[k]) continue;
      count++;
      sx += k;
      sy += good[k];
      sxx += k * k;
      sxy += k * good[k];
    }
    left = count;
    const spread = count * sxx - sx * sx;
    if (count < 5 || spread === 0) break;
    slope = (count * sxy - sx * sy) / spread;
    const start = (sy - slope * sx) / count;
    let square = 0;
    for (let k = 0; k < n; k++) if (kept[k]) square += (good[k] - start - slope * k) ** 2;
    const limit = 2.5 * Math.sqrt(square / count);
    let dropped = 0;
    for (let k = 0; k < n; k++) {
      if (kept[k] && Math.abs(good[k] - start - slope * k) > limit) {
        kept[k] = 0;
        dropped++;
      }
    }
    if (!dropped) break;
  }
  if (left < Math.max(5, n / 2)) return [first, Math.max(last, first + 1e-9)]; // nothing to fit: all there is
  const low = Math.max(first, middle - (slope / contrast) * (n >> 1));
  const high = Math.min(last, middle + (slope / contrast) * (n - (n >> 1)));
  return [low, Math.max(high, low + 1e-9)];
}

/** Draws a plane; the canvas gets as many pixels as are shown, and the style sheet makes them large. */
export function draw(canvas, plane, { stretch = "asinh", invert = false, zoom = 1 } = {}) {
  const { nx, ny, pixels } = plane;
  const width = Math.max(1, Math.round(nx / zoom));
  const height = Math.max(1, Math.round(ny / zoom));
  const left = (nx - width) >> 1;
  const low = (ny - height) >> 1;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const found = levels(plane);
  const scale = found ? scaling(stretch, found) : () => 0;
  for (let row = 0; row < height; row++) {
    // FITS counts rows from below
    const source = (low + height - 1 - row) * nx + left;
    for (let column = 0; column < width; column++) {
      const value = pixels[source + column];
      const place = 4 * (row * width + column);
      if (!Number.isFinite(value)) continue; // transparent: the hatching of the page shows
      const grey = scale(value);
      const shade = Math.round(255 * (invert ? 1 - grey : grey));
      image.data[place] = shade;
      image.data[place + 1] = shade;
      image.data[place + 2] = shade;
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  canvas.dataset.left = left;
  canvas.dataset.low = low;
}

function scaling(stretch, found) {
  const [black, white, soft] = found[stretch] ?? found.asinh;
  const inside = (share) => (share < 0 ? 0 : share > 1 ? 1 : share);
  if (stretch === "linear" || stretch === "zscale") return (value) => inside((value - black) / (white - black));
  const top = Math.asinh((white - black) / soft);
  return (value) => inside(Math.asinh((value - black) / soft) / top);
}

/** Column, row (from 1, as FITS counts) and value under the pointer. */
export function pixelAt(canvas, plane, event) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
  const row = canvas.height - 1 - Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
  if (column < 0 || row < 0 || column >= canvas.width || row >= canvas.height) return null;
  const x = column + Number(canvas.dataset.left);
  const y = row + Number(canvas.dataset.low);
  return { x: x + 1, y: y + 1, value: plane.pixels[y * plane.nx + x] };
}

/** A figure for each plane, or the reason why there is no picture. */
export function figures(planes, look) {
  return planes.map((plane) => {
    let picture = element("p", { class: "none" }, plane.problem);
    if (!plane.problem) {
      const label = `${plane.name} image, ${plane.nx} × ${plane.ny} px`;
      const canvas = element("canvas", { role: "img", "aria-label": label });
      draw(canvas, plane, look);
      picture = element("div", { class: "frame" }, canvas);
    }
    return element("figure", { class: "stamp" }, picture, element("figcaption", {}, plane.name));
  });
}
