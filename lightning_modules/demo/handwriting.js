// A drawing, brought to what the nets see. The steps and numbers are those of handwriting.py and ink.py in
// lightning_modules/predict, which say why; a test compares the results. Two of their steps are left out: here the
// paper is known to be white, and the brush to be as wide as MNIST's strokes. That changes scribbles, not digits.

const WORKING = 160, LOOKS = 4, NEAR = 80, MARGIN = 0.4, BOX = 20, SIDE = 28, GAP = 0.1, SPECK = 0.05;
const WINDOW = 65, FAINT = 0.04, NOISE = 4, DIM = 0.2;

class Plane {  // numbers in rows
  constructor(height, width, data = new Float64Array(height * width)) {
    Object.assign(this, { height, width, data });
  }

  static of(height, width, value) {  // value(row, column)
    const plane = new Plane(height, width);
    for (let row = 0, i = 0; row < height; row++) for (let x = 0; x < width; x++, i++) plane.data[i] = value(row, x);
    return plane;
  }

  at(row, column) { return this.data[row * this.width + column]; }

  map(f) { return new Plane(this.height, this.width, this.data.map(f)); }

  crop([top, bottom, left, right]) {  // slices of Python: as far as the plane goes
    const height = Math.min(bottom, this.height) - top, width = Math.min(right, this.width) - left;
    return Plane.of(height, width, (row, column) => this.at(top + row, left + column));
  }

  padded(size) {  // the border's values go on
    const inside = (place, length) => Math.min(Math.max(place - size, 0), length - 1);
    return Plane.of(this.height + 2 * size, this.width + 2 * size,
      (row, column) => this.at(inside(row, this.height), inside(column, this.width)));
  }

  lines(f) {  // f of each row, as columns
    let plane;
    for (let row = 0; row < this.height; row++) {
      const line = f(this.data.subarray(row * this.width, (row + 1) * this.width), this.width);
      plane ??= new Plane(line.length, this.height);
      for (let i = 0; i < line.length; i++) plane.data[i * this.height + row] = line[i];
    }
    return plane;
  }

  separable(f, ofColumn = f) { return this.lines(f).lines(ofColumn); }  // of the rows, then of the columns
}

// What goes on beyond the ends of a line of n: abc|cba, or abc|ba.
const reflected = (i, n) => (i = ((i % (2 * n)) + 2 * n) % (2 * n), i < n ? i : 2 * n - 1 - i);
const mirrored = (i, n) => n === 1 ? 0 : (i = ((i % (2 * n - 2)) + 2 * n - 2) % (2 * n - 2), i < n ? i : 2 * n - 2 - i);

const isFlat = line => line.every(x => x === line[0]);  // as most lines of a drawing are: no filter changes them

function gaussian(sigma, beyond = reflected) {
  const radius = Math.floor(4 * sigma + 0.5);
  const bell = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-0.5 * ((i - radius) / sigma) ** 2));
  const sum = bell.reduce((a, b) => a + b);
  return (line, n) => {
    if (sigma === 0 || isFlat(line)) return line;
    const wide = new Float64Array(n + 2 * radius), soft = new Float64Array(n);
    for (let i = 0; i < wide.length; i++) wide[i] = line[beyond(i - radius, n)];
    for (let x = 0; x < n; x++) for (let i = 0; i <= 2 * radius; i++) soft[x] += bell[i] / sum * wide[x + i];
    return soft;
  };
}

function maximum(line, n) {  // over WINDOW places, from blocks of as many (van Herk 1992)
  if (isFlat(line)) return line;
  const wide = new Float64Array(n + WINDOW - 1).fill(-Infinity), half = WINDOW >> 1;
  wide.set(line, half);
  const before = wide.slice(), after = wide.slice();
  for (let i = 1; i < wide.length; i++) if (i % WINDOW) before[i] = Math.max(before[i - 1], wide[i]);
  for (let i = wide.length - 2; i >= 0; i--) if ((i + 1) % WINDOW) after[i] = Math.max(after[i + 1], wide[i]);
  for (let x = 0; x < n; x++) wide[x] = Math.max(after[x], before[x + WINDOW - 1]);
  return wide.subarray(0, n);
}

const dilated = plane => plane.separable(maximum);
const eroded = plane => dilated(plane.map(x => -x)).map(x => -x);

function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function rounded(x) {  // as Python: halves to the even number
  const down = Math.floor(x);
  return x - down === 0.5 ? down + (down % 2) : Math.round(x);
}

function fit(plane, side) {  // the longer side shall have so many pixels
  const scale = side / Math.max(plane.height, plane.width);
  const resize = length => {
    const size = Math.max(1, rounded(scale * length)), factor = length / size;
    const smooth = gaussian(scale < 1 ? Math.max(0, (factor - 1) / 2) : 0, mirrored);
    return line => {
      const soft = smooth(line, length), scaled = new Float64Array(size);
      for (let i = 0; i < size; i++) {
        const place = (i + 0.5) * factor - 0.5, low = Math.floor(place), share = place - low;
        scaled[i] = (1 - share) * soft[mirrored(low, length)] + share * soft[mirrored(low + 1, length)];
      }
      return scaled;
    };
  };
  return plane.separable(resize(plane.width), resize(plane.height));
}

function framed(page) {  // paper all around, without the strokes that touch the border
  const plane = page.padded(1), { height, width, data } = plane;
  const smooth = (start, step, length) => {
    const line = Array.from({ length }, (_, i) => data[start + i * step]);
    line.forEach((_, x) => data[start + x * step] = median(Array.from({ length: WINDOW }, (_, i) =>
      line[Math.min(Math.max(x + i - (WINDOW >> 1), 0), length - 1)])));
  };
  smooth(0, 1, width);
  smooth((height - 1) * width, 1, width);
  smooth(0, width, height);
  smooth(width - 1, width, height);
  return plane.padded(WINDOW - 1);
}

function findInk(page) {  // null where there is none
  const light = framed(page).map(x => -x).separable(gaussian(0.5)), ground = dilated(eroded(light));
  const inner = [WINDOW, WINDOW + page.height, WINDOW, WINDOW + page.width];
  const ink = light.map((x, i) => Math.max(0, x - ground.data[i])).crop(inner);
  const steps = Plane.of(page.height, Math.max(1, page.width - 1), (row, column) =>
    page.width > 1 ? Math.abs(page.at(row, column + 1) - page.at(row, column)) : 0);
  const strength = Math.max(...ink.separable(gaussian(1)).data) - median(ink.data);
  if (strength < FAINT + NOISE * median(steps.data)) return null;
  const paper = eroded(dilated(page));
  return ink.map((x, i) => x / Math.max(DIM, paper.data[i]));
}

function otsu(values) {  // the threshold between two classes whose means differ most
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  if (low === high) return low;
  const edge = i => i === 256 ? high : low + i * (high - low) / 256, counts = new Float64Array(256);
  for (const value of values) {
    let bin = Math.min(255, Math.floor((value - low) / (high - low) * 256));
    while (value < edge(bin)) bin--;
    while (bin < 255 && value >= edge(bin + 1)) bin++;
    counts[bin]++;
  }
  const centres = counts.map((_, i) => (edge(i) + edge(i + 1)) / 2), mass = counts.map((n, i) => n * centres[i]);
  const above = { count: counts.slice(), mass: mass.slice() };  // of each bin and those after it
  for (let i = 254; i >= 0; i--) for (const of of ["count", "mass"]) above[of][i] += above[of][i + 1];
  let best = -1, threshold = low, count = 0, sum = 0;
  for (let i = 0; i < 255; i++) {
    count += counts[i];
    sum += mass[i];
    const between = Math.fround(count * above.count[i + 1]) * (sum / count - above.mass[i + 1] / above.count[i + 1]) ** 2;
    if (between > best) [best, threshold] = [between, centres[i]];
  }
  return threshold;
}

function pieces(mask) {  // what hangs together, also by corners: for each piece the places of its pixels
  const seen = new Uint8Array(mask.data.length), found = [];
  mask.data.forEach((inside, start) => {
    if (!inside || seen[start]) return;
    const places = [start];
    seen[start] = 1;
    for (const place of places) {  // which grows meanwhile
      const row = Math.floor(place / mask.width), column = place % mask.width;
      for (let y = Math.max(0, row - 1); y <= Math.min(mask.height - 1, row + 1); y++) {
        for (let x = Math.max(0, column - 1); x <= Math.min(mask.width - 1, column + 1); x++) {
          const next = y * mask.width + x;
          if (mask.data[next] && !seen[next]) seen[places[places.push(next) - 1]] = 1;
        }
      }
    }
    found.push(places);
  });
  return found;
}

function extent(places, width) {  // [top, bottom, left, right), as slices
  const box = [Infinity, 0, Infinity, 0];
  for (const place of places) {
    const row = Math.floor(place / width), column = place % width;
    box[0] = Math.min(box[0], row);
    box[1] = Math.max(box[1], row + 1);
    box[2] = Math.min(box[2], column);
    box[3] = Math.max(box[3], column + 1);
  }
  return box;
}

const placesOf = mask => [...mask.data.keys()].filter(place => mask.data[place]);
const longerSide = ([top, bottom, left, right]) => Math.max(bottom - top, right - left);
const largest = groups => groups.reduce((most, group) => group.length > most.length ? group : most);

function findStrokes(ink) {
  const above = (threshold, mask) => ink.map((x, i) => (!mask || mask.data[i]) && x > threshold ? 1 : 0);
  const crosses = mask => pieces(mask).some(piece => {
    const [top, bottom, left, right] = extent(piece, mask.width);
    return (top === 0 && bottom === mask.height) || (left === 0 && right === mask.width);
  });
  let strokes = above(otsu(ink.data));
  for (let i = 0; i < 2 && crosses(strokes); i++) {
    const darker = above(otsu(ink.data.filter((_, place) => strokes.data[place])), strokes);
    if (!darker.data.some(Boolean)) break;
    strokes = darker;
  }
  return strokes;
}

function around(mask, radius) {  // what is as near as this to the mask
  const near = new Plane(mask.height, mask.width), reach = Math.floor(radius);
  for (const place of placesOf(mask)) {
    const row = Math.floor(place / mask.width), column = place % mask.width;
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const inside = row + y >= 0 && row + y < mask.height && column + x >= 0 && column + x < mask.width;
        if (inside && y * y + x * x <= radius * radius) near.data[place + y * mask.width + x] = 1;
      }
    }
  }
  return near;
}

function oneDigit(ink, strokes) {  // the digit without the dirt around it
  const whole = longerSide(extent(largest(pieces(strokes)), ink.width));
  const near = around(strokes, Math.max(1.5, GAP * whole / 2));
  const faint = ink.data.reduce((least, x, i) => strokes.data[i] ? Math.min(least, x) : least, Infinity) / 2;
  const parts = pieces(near.map((inside, i) => inside || ink.data[i] > faint ? 1 : 0))
    .map(piece => piece.filter(place => strokes.data[place])).filter(part => part.length);
  const main = largest(parts), height = part => (([top, bottom]) => bottom - top)(extent(part, ink.width));
  const digits = parts.filter(part => part.length >= 2 * SPECK * main.length && 2 * height(part) >= height(main));
  if (digits.length > 1) throw new Error(`it shows ${digits.length} digits, or a digit in ${digits.length} parts`);
  const digit = new Plane(ink.height, ink.width);
  for (const part of parts) if (part.length >= SPECK * main.length) for (const place of part) digit.data[place] = 1;
  return digit;
}

function surroundings([top, bottom, left, right], scale) {  // with a margin of paper
  const margin = MARGIN * Math.max(bottom - top, right - left) + 2;
  const from = start => Math.max(0, Math.trunc(scale * (start - margin)));
  const to = stop => Math.trunc(scale * (stop + margin)) + 1;
  return [from(top), to(bottom), from(left), to(right)];
}

function cropped(ink, strokes) {  // the digit alone, with its soft edges
  const near = around(strokes, 2), full = median(ink.data.filter((_, place) => strokes.data[place]));
  const digit = ink.map((x, i) => near.data[i] ? Math.min(1, x / full) : 0);
  return digit.crop(extent(placesOf(strokes), ink.width));
}

function centred(digit) {  // in SIDE x SIDE, its centre of mass in the middle as far as the frame allows
  let mass = 0, y = 0, x = 0;
  digit.data.forEach((value, i) => {
    mass += value;
    y += value * Math.floor(i / digit.width);
    x += value * (i % digit.width);
  });
  const corner = (centre, size) => Math.min(Math.max(rounded(SIDE / 2 - 0.5 - centre), 0), SIDE - size);
  const top = corner(y / mass, digit.height), left = corner(x / mass, digit.width);
  return Plane.of(SIDE, SIDE, (row, column) => row >= top && row < top + digit.height && column >= left
    && column < left + digit.width ? digit.at(row - top, column - left) : 0);
}

// 14x14 numbers in 0..255, row by row, or null where nothing is drawn. `ink` is a Plane in 0..1.
function asMnist(ink) {
  let picture = ink.map(x => 1 - x), page, strokes;
  for (let look = 0; look < LOOKS; look++) {
    const working = findInk(fit(picture, WORKING));
    if (!working) return null;
    [page, strokes] = [working, oneDigit(working, findStrokes(working))];
    const shrunk = Math.max(picture.height, picture.width) / WORKING, box = extent(placesOf(strokes), page.width);
    if (shrunk <= 1 || longerSide(box) >= NEAR) break;
    picture = picture.crop(surroundings(box, shrunk));
  }
  const small = fit(cropped(page, strokes), BOX), most = Math.max(...small.data);
  const frame = centred(small.map(x => x / most));
  return Array.from({ length: 14 * 14 }, (_, i) => {
    const y = 2 * Math.floor(i / 14), x = 2 * (i % 14);
    return 255 / 4 * (frame.at(y, x) + frame.at(y, x + 1) + frame.at(y + 1, x) + frame.at(y + 1, x + 1));
  });
}
