// The network: a token to the logits of the next one.
//
//     x_0 = row of the embedding
//     z = x W + h U + b                                for each layer, x normalized if it has a norm
//     c' = sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_g)
//     h' = sigmoid(z_o) * tanh(c'),     x' = h', or x + h' with a residual connection
//     logits = x_L W_out + b_out                       x_L normalized, then projected, if so set
//
// Weights and states are float32, sums are float64, which JavaScript adds up twice as fast. Most of
// the time goes into the products, so the weights are read in the order of memory.

const LANES = 8; // sums that grow side by side, so that none waits for the one before

/** Rows times columns of weights; each row gives one number of the product. */
export class Matrix {
  constructor({ shape: [rows, columns], values }) {
    this.rows = rows;
    this.columns = columns;
    this.paddedRows = LANES * Math.ceil(rows / LANES);
    // Weight k of eight rows, then weight k + 1 of the same rows.
    this.packed = new Float32Array(this.paddedRows * columns);
    for (let row = 0, i = 0; row < rows; row++) {
      let at = this.locate(row);
      for (let k = 0; k < columns; k++, at += LANES) this.packed[at] = values[i++];
    }
  }

  locate(row) {
    const lane = row % LANES;
    return (row - lane) * this.columns + lane;
  }

  /** Row `row` into `x`. */
  copyRow(row, x) {
    let at = this.locate(row);
    for (let k = 0; k < this.columns; k++, at += LANES) x[k] = this.packed[at];
  }

  /** Adds the product with `x` to `y`, which is padded to whole groups of rows. */
  multiplyAdd(x, y) {
    multiplyAdd(this.packed, x, y, this.paddedRows, this.columns);
  }
}

function multiplyAdd(packed, x, y, rows, columns) {
  let i = 0;
  for (let row = 0; row < rows; row += 8) {
    let y0 = y[row], y1 = y[row + 1], y2 = y[row + 2], y3 = y[row + 3];
    let y4 = y[row + 4], y5 = y[row + 5], y6 = y[row + 6], y7 = y[row + 7];
    for (let k = 0; k < columns; k++, i += 8) {
      const value = x[k];
      y0 += packed[i] * value;
      y1 += packed[i + 1] * value;
      y2 += packed[i + 2] * value;
      y3 += packed[i + 3] * value;
      y4 += packed[i + 4] * value;
      y5 += packed[i + 5] * value;
      y6 += packed[i + 6] * value;
      y7 += packed[i + 7] * value;
    }
    y[row] = y0; y[row + 1] = y1; y[row + 2] = y2; y[row + 3] = y3;
    y[row + 4] = y4; y[row + 5] = y5; y[row + 6] = y6; y[row + 7] = y7;
  }
}

/** (x - mean) / sqrt(variance + epsilon) * gamma + beta */
class Norm {
  constructor(gamma, beta, epsilon) {
    Object.assign(this, { gamma, beta, epsilon });
    this.result = new Float32Array(gamma.length);
  }

  apply(x) {
    const { gamma, beta, result } = this;
    const size = gamma.length;
    let sum = 0;
    for (let k = 0; k < size; k++) sum += x[k];
    const mean = sum / size;
    let squares = 0;
    for (let k = 0; k < size; k++) squares += (x[k] - mean) ** 2;
    const deviation = Math.sqrt(squares / size + this.epsilon);
    for (let k = 0; k < size; k++) result[k] = ((x[k] - mean) / deviation) * gamma[k] + beta[k];
    return result;
  }
}

class Layer {
  constructor({ kernel, recurrent, bias, norm, isResidual }) {
    const units = recurrent.columns;
    Object.assign(this, { kernel, recurrent, bias, norm, isResidual, units });
    this.z = new Float32Array(kernel.paddedRows);
    this.h = new Float32Array(units);
    this.c = new Float32Array(units);
    this.output = isResidual ? new Float32Array(units) : this.h;
  }

  read(x) {
    const { z, h, c, output, units } = this;
    z.set(this.bias);
    this.kernel.multiplyAdd(this.norm ? this.norm.apply(x) : x, z);
    this.recurrent.multiplyAdd(h, z);
    for (let j = 0; j < units; j++) {
      const input = sigmoid(z[j]);
      const forget = sigmoid(z[units + j]);
      const cell = Math.tanh(z[2 * units + j]);
      c[j] = forget * c[j] + input * cell;
      h[j] = sigmoid(z[3 * units + j]) * Math.tanh(c[j]);
    }
    if (this.isResidual) for (let j = 0; j < units; j++) output[j] = x[j] + h[j];
    return output;
  }
}

function sigmoid(z) {
  return 1 / (1 + Math.exp(-z));
}

export class Network {
  /** `settings`: {residual: [for each layer], normEpsilon}. */
  constructor(tensors, { residual, normEpsilon }) {
    const getMatrix = (name) => (tensors.has(name) ? new Matrix(tensors.get(name)) : null);
    const getVector = (name) => tensors.get(name)?.values;
    const getNorm = (name) => {
      const gamma = getVector(`${name}.gamma`);
      return gamma ? new Norm(gamma, getVector(`${name}.beta`), normEpsilon) : null;
    };
    this.embedding = getMatrix("embedding.embeddings");
    this.x = new Float32Array(this.embedding.columns);
    this.layers = residual.map((isResidual, index) => {
      const name = `lstm_${index + 1}`;
      return new Layer({
        kernel: getMatrix(`${name}.kernel`),
        recurrent: getMatrix(`${name}.recurrent_kernel`),
        bias: getVector(`${name}.bias`),
        norm: getNorm(`layer_norm_${index + 1}`),
        isResidual,
      });
    });
    this.norm = getNorm("layer_norm_output");
    this.projection = getMatrix("projection.kernel");
    this.projected = new Float32Array(this.projection?.paddedRows ?? 0);
    this.output = getMatrix("output.kernel") ?? this.embedding; // tied
    this.bias = getVector("output.bias");
    this.logits = new Float32Array(this.output.paddedRows);
  }

  reset() {
    for (const { h, c, output } of this.layers) for (const each of [h, c, output]) each.fill(0);
  }

  /** A copy of the state, for `restore`. */
  save() {
    return this.layers.map(({ h, c, output }) => [h.slice(), c.slice(), output.slice()]);
  }

  restore(state) {
    this.layers.forEach((layer, index) => {
      const [h, c, output] = state[index];
      layer.h.set(h);
      layer.c.set(c);
      layer.output.set(output);
    });
  }

  /** Reads a token. */
  read(id) {
    this.embedding.copyRow(id, this.x);
    this.layers.reduce((x, layer) => layer.read(x), this.x);
  }

  /** The logits (V,) for the token after the last that was read; overwritten by the next call. */
  computeLogits() {
    let x = this.layers.at(-1).output;
    if (this.norm) x = this.norm.apply(x);
    if (this.projection) {
      this.projected.fill(0);
      this.projection.multiplyAdd(x, this.projected);
      x = this.projected;
    }
    this.logits.set(this.bias);
    this.output.multiplyAdd(x, this.logits);
    return this.logits.subarray(0, this.bias.length);
  }
}
