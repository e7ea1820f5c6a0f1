// The weights: base64 text to bytes, bytes to float32.

/** The bytes that a text in base64 stands for. */
export function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/**
 * The tensors of the page by name, each as {shape, values}, values float32 and row after row.
 * `tensors` lists name and shape in the order of the bytes; with int8, a matrix begins with the
 * scale of each row.
 */
export function readTensors(bytes, tensors, precision) {
  const found = new Map();
  let position = 0;
  const take = (length) => bytes.slice(position, (position += length)).buffer;
  for (const [name, shape] of tensors) {
    const size = shape.reduce((product, each) => product * each, 1);
    let values;
    if (precision === "float16") {
      values = widenHalves(new Uint16Array(take(2 * size)));
    } else if (precision === "int8" && shape.length === 2) {
      const scales = new Float32Array(take(4 * shape[0]));
      values = scaleRows(new Int8Array(take(size)), scales, shape[1]);
    } else {
      values = new Float32Array(take(4 * size));
    }
    found.set(name, { shape, values });
  }
  return found;
}

// (-1)^sign (1 + m / 1024) 2^(e - 15); below 2^-14 there is no 1 +
function widenHalves(halves) {
  const values = new Float32Array(65536);
  for (let half = 0; half < 65536; half++) {
    const exponent = (half >> 10) & 31;
    const fraction = (half & 1023) / 1024;
    let value = (1 + fraction) * 2 ** (exponent - 15);
    if (exponent === 0) value = fraction * 2 ** -14;
    if (exponent === 31) value = fraction ? NaN : Infinity;
    values[half] = half >> 15 ? -value : value;
  }
  const wide = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) wide[i] = values[halves[i]];
  return wide;
}

function scaleRows(integers, scales, columns) {
  const values = new Float32Array(integers.length);
  for (let row = 0, i = 0; row < scales.length; row++) {
    for (const end = i + columns; i < end; i++) values[i] = integers[i] * scales[row];
  }
  return values;
}
