// What nets compute, in evaluation mode, for one pair of digits. A map is { channels, side, data }, its data
// channel by channel, row by row; features are maps of side 1. layers.py says what a net is.

function unpacked(text, Kind = Float32Array) {  // numbers from base64
  return text === null ? null : new Kind(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
}

function prepared(layers) {  // the layers with their numbers unpacked
  return layers.map(layer => {
    const numbers = ["weight", "bias", "scale", "shift"].filter(name => name in layer);
    return { ...layer, ...Object.fromEntries(numbers.map(name => [name, unpacked(layer[name])])) };
  });
}

const LAYERS = {
  norm(map, { scale, shift }) {  // a scale for each channel, or one for all
    const area = map.side ** 2, of = i => scale.length === 1 ? 0 : Math.floor(i / area);
    return { ...map, data: map.data.map((x, i) => x * scale[of(i)] + shift[of(i)]) };
  },

  relu(map) {
    return { ...map, data: map.data.map(x => Math.max(0, x)) };
  },

  pool(map) {  // the largest of each 2x2
    const side = map.side >> 1, data = new Float64Array(map.channels * side ** 2);
    for (let c = 0, i = 0; c < map.channels; c++) {
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++, i++) {
          const corner = c * map.side ** 2 + 2 * y * map.side + 2 * x, below = corner + map.side;
          data[i] = Math.max(map.data[corner], map.data[corner + 1], map.data[below], map.data[below + 1]);
        }
      }
    }
    return { channels: map.channels, side, data };
  },

  average(map) {
    const area = map.side ** 2, data = new Float64Array(map.channels);
    map.data.forEach((x, i) => data[Math.floor(i / area)] += x / area);
    return { channels: map.channels, side: 1, data };
  },

  linear(map, { weight, bias }) {
    const inputs = map.data.length, outputs = weight.length / inputs, data = new Float64Array(outputs);
    for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias[o] : 0;
      for (let i = 0; i < inputs; i++) sum += weight[o * inputs + i] * map.data[i];
      data[o] = sum;
    }
    return { channels: outputs, side: 1, data };
  },

  conv(map, { weight, bias, side: k, padding }) {
    const outputs = weight.length / (map.channels * k * k), side = map.side + 2 * padding - k + 1;
    const data = new Float64Array(outputs * side ** 2);
    for (let o = 0; o < outputs; o++) {
      if (bias) data.fill(bias[o], o * side ** 2, (o + 1) * side ** 2);
      for (let c = 0; c < map.channels; c++) {
        for (let dy = 0; dy < k; dy++) {
          for (let dx = 0; dx < k; dx++) {
            const w = weight[((o * map.channels + c) * k + dy) * k + dx];
            for (let y = Math.max(0, padding - dy); y < Math.min(side, map.side + padding - dy); y++) {
              const from = (c * map.side + y + dy - padding) * map.side + dx - padding, to = (o * side + y) * side;
              const end = Math.min(side, map.side + padding - dx);
              for (let x = Math.max(0, padding - dx); x < end; x++) data[to + x] += w * map.data[from + x];
            }
          }
        }
      }
    }
    return { channels: outputs, side, data };
  },
};

// The maps after each block, which is a conv or linear layer and what follows it; the last one is the output.
function blocks(layers, map) {
  const found = [];
  for (const layer of layers) {
    if (found.length === 0 || layer.kind === "conv" || layer.kind === "linear") found.push({ kinds: [] });
    map = LAYERS[layer.kind](map, layer);
    found.at(-1).kinds.push(layer.kind);
    found.at(-1).map = map;
  }
  return found;
}

function softmax(logits, temperature = 1) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, x => Math.exp((x - most) / temperature)), sum = powers.reduce((a, b) => a + b);
  return powers.map(x => x / sum);
}

function oneHot(logits) {
  const likeliest = logits.indexOf(Math.max(...logits));
  return Array.from(logits, (_, i) => Number(i === likeliest));
}

const features = values => ({ channels: values.length, side: 1, data: Float64Array.from(values) });

function compared(head, [first, second]) {  // the probability that the first digit is larger, by its head
  const both = head.compares === "both" ? [...first, ...second] : second.map((x, i) => x - first[i]);
  const logits = blocks(head.layers, features(both)).at(-1).map.data;
  return softmax(logits.length === 1 ? [0, logits[0]] : logits)[0];
}

function summed([first, second]) {  // the same of two posteriors: P(a) P(b) over all a > b
  let greater = 0, atMost = 0;
  first.forEach((p, a) => second.forEach((q, b) => a > b ? greater += p * q : atMost += p * q));
  [greater, atMost] = [greater, atMost].map(sum => Math.max(1e-6, sum));
  return greater / (greater + atMost);
}

class Net {
  constructor(told) {
    const { trunks, head, ...known } = told;
    Object.assign(this, known, { trunks: trunks.map(prepared) });
    this.head = head?.layers ? { ...head, layers: prepared(head.layers) } : head;
  }

  // Of two digits, 14x14 numbers in 0..255: `greater`, the probability that the first is larger; `views`, what
  // each trunk's blocks make of them; `posteriors` of the classes of each digit; `reads`, the likeliest digits.
  // What is not the net's is null.
  answer(digits) {
    const inputs = this.together ? [digits.flat()] : digits;
    const views = inputs.map((pixels, i) => blocks(this.trunks[i % this.trunks.length],
      { channels: pixels.length / 196, side: 14, data: Float64Array.from(pixels) }));
    const outputs = views.map(view => Array.from(view.at(-1).map.data));
    if (!this.head) return { greater: softmax(outputs[0])[0], views, posteriors: null, reads: null };
    const exact = this.head.compares === "posteriors", { temperature } = this.head;
    const posteriors = !this.outputs ? null : outputs.map(logits => !exact ? softmax(logits)
      : temperature ? softmax(logits, temperature) : oneHot(logits));
    const reads = this.outputs === "digits" ? outputs.map(logits => logits.indexOf(Math.max(...logits))) : null;
    return { greater: exact ? summed(posteriors) : compared(this.head, outputs), views, posteriors, reads };
  }
}
