// A picture at a model's size, to the last bit as Pillow scales it (Resampling.BICUBIC) and as
// imagetrail's own decoding cuts it.

const BITS = 2 ** 22; // of Pillow's coefficients
const clip = (sum) => Math.max(0, Math.min(255, Math.floor((sum + BITS / 2) / BITS)));

/** Height×width×channels bytes of a bitmap; fit: crop, pad or stretch. */
export function pixels(bitmap, [height, width, channels], fit) {
  const whole = { width: bitmap.width, height: bitmap.height, data: colours(bitmap) };
  const [box, size] = area(whole, width, height, fit);
  const scaled = resized(whole, box, size);
  const out = new Uint8Array(height * width * channels);
  const left = Math.floor((width - size[0]) / 2), top = Math.floor((height - size[1]) / 2);
  for (let y = 0; y < size[1]; y++) for (let x = 0; x < size[0]; x++) {
    const [r, g, b] = scaled.subarray(3 * (y * size[0] + x));
    const at = channels * ((y + top) * width + x + left);
    if (channels === 1) out[at] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
    else out.set([r, g, b], at);
  }
  return out;
}

/** Red, green and blue, on white where the picture is transparent. */
function colours(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const out = new Uint8Array(3 * bitmap.width * bitmap.height);
  for (let i = 0, at = 0; at < out.length; i += 4) {
    out[at++] = data[i];
    out[at++] = data[i + 1];
    out[at++] = data[i + 2];
  }
  return out;
}

/** What is taken of a picture (left, top, right, bottom), and the size that it is scaled to. */
function area({ width: right, height: below }, width, height, fit) {
  if (fit === "stretch") return [[0, 0, right, below], [width, height]];
  if (fit === "pad") {
    const factor = Math.min(height / below, width / right);
    const side = (length) => Math.max(1, even(length * factor));
    return [[0, 0, right, below], [side(right), side(below)]];
  }
  const across = Math.min(right, (below * width) / height), down = Math.min(below, (right * height) / width);
  const left = (right - across) / 2, top = (below - down) / 2;
  return [[left, top, left + across, top + down], [width, height]];
}

/** To the nearest integer, halves to the even one, as Python rounds. */
function even(value) {
  const down = Math.floor(value), rest = value - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** Across first, then down, as Pillow has it: between the two, values are whole. */
function resized(image, [left, top, right, bottom], [width, height]) {
  const across = weights(image.width, left, right, width), down = weights(image.height, top, bottom, height);
  const middle = new Uint8Array(3 * width * image.height);
  for (let y = 0; y < image.height; y++) for (let x = 0; x < width; x++) {
    const { from, values } = across[x];
    for (let c = 0; c < 3; c++) {
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i] * image.data[3 * (y * image.width + from + i) + c];
      middle[3 * (y * width + x) + c] = clip(sum);
    }
  }
  const out = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const { from, values } = down[y];
    for (let c = 0; c < 3; c++) {
      let sum = 0;
      for (let i = 0; i < values.length; i++) sum += values[i] * middle[3 * ((from + i) * width + x) + c];
      out[3 * (y * width + x) + c] = clip(sum);
    }
  }
  return out;
}

/** For each of `count` places, which of `length` values it is made of and how much of each. */
function weights(length, low, high, count) {
  const scale = (high - low) / count, stretch = Math.max(1, scale), support = 2 * stretch;
  return Array.from({ length: count }, (_, place) => {
    const centre = low + (place + 0.5) * scale;
    const from = Math.max(0, Math.trunc(centre - support + 0.5));
    const to = Math.min(length, Math.trunc(centre + support + 0.5));
    const shares = Array.from({ length: to - from }, (_, i) => bicubic((i + from - centre + 0.5) / stretch));
    const sum = shares.reduce((a, b) => a + b, 0);
    return { from, values: shares.map((share) => Math.trunc((share / sum) * BITS + Math.sign(share) * 0.5)) };
  });
}

function bicubic(x) {
  const a = -0.5, d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}
