// What one sees: two fields to draw in, and a card for each net.

const BRUSH = 28;   // of the field's 280: as wide as MNIST's strokes
const PAUSE = 60;   // milliseconds between two answers while a stroke is drawn, at least
const SIDES = ["left", "right"];

const content = JSON.parse(document.querySelector("#content").textContent);
const quarters = unpacked(content.pixels, Uint16Array);
const examples = content.labels.map((label, i) =>
  ({ label, pixels: Array.from(quarters.subarray(196 * i, 196 * (i + 1)), x => x / 4) }));
const nets = content.nets.map(told => new Net(told));

function element(tag, name, ...inside) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...inside);
  return made;
}

function paint(canvas, width, height, level) {  // level(x, y) in 0..255; null is nothing
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const value = level(i % width, Math.floor(i / width));
    image.data.set(value === null ? [0, 0, 0, 0] : [value, value, value, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

class Pad {
  constructor(side) {
    this.side = side;
    this.root = document.querySelector(`.pad.${side}`);
    [this.paper, this.seen] = this.root.querySelectorAll("canvas");
    this.ink = this.paper.getContext("2d", { willReadFrequently: true });
    Object.assign(this.ink, { lineWidth: BRUSH, lineCap: "round", lineJoin: "round" });
    this.example = null;      // the test digit that was put here
    this.pixels = undefined;  // as the nets see it, null where nothing is drawn; undefined until it is asked
    this.pointer = null;      // whose stroke is being drawn
    this.paper.addEventListener("pointerdown", event => this.start(event));
    this.paper.addEventListener("pointermove", event => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) this.paper.addEventListener(end, event => this.end(event));
    this.root.addEventListener("keydown", event => this.press(event));
    this.root.querySelector("button").addEventListener("click", () => { this.clear(); update(); });
  }

  place(event) {  // in pixels of the field
    const box = this.paper.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top].map(length => length * this.paper.width / box.width);
  }

  start(event) {
    if (this.pointer !== null || event.button !== 0) return;
    if (this.example) this.clear();
    this.pointer = event.pointerId;
    this.paper.setPointerCapture(event.pointerId);
    this.line(this.place(event));
    updateSoon();
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    for (const step of between.length ? between : [event]) this.line(this.place(step));
    updateSoon();
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = this.last = null;
    update();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[0-9]$/.test(event.key)) this.putNext(Number(event.key));
    else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
    update();
  }

  line(to) {  // from where the stroke is; a dot where it begins, as a line of no length would be nothing
    this.ink.beginPath();
    if (this.last) {
      this.ink.moveTo(...this.last);
      this.ink.lineTo(...to);
      this.ink.stroke();
    } else {
      this.ink.arc(...to, BRUSH / 2, 0, 2 * Math.PI);
      this.ink.fill();
    }
    this.last = to;
    this.pixels = undefined;
    this.root.classList.add("drawn");
  }

  clear() {
    this.ink.clearRect(0, 0, this.paper.width, this.paper.height);
    this.root.classList.remove("drawn");
    this.pointer = this.example = this.last = null;
    this.pixels = undefined;
  }

  putNext(label) {  // another one of this class than is there
    const some = examples.filter(example => example.label === label);
    this.put(some[(some.indexOf(this.example) + 1) % some.length]);
  }

  put(example) {
    this.clear();
    const small = new ImageData(14, 14), canvas = element("canvas", "");
    example.pixels.forEach((value, i) => small.data[4 * i + 3] = value);
    Object.assign(canvas, { width: 14, height: 14 }).getContext("2d").putImageData(small, 0, 0);
    this.ink.drawImage(canvas, 0, 0, this.paper.width, this.paper.height);
    this.root.classList.add("drawn");
    [this.example, this.pixels] = [example, example.pixels];
  }

  drawing() {  // ink in 0..1
    const { width, height } = this.paper, { data } = this.ink.getImageData(0, 0, width, height);
    return Plane.of(height, width, (y, x) => data[4 * (y * width + x) + 3] / 255);
  }

  look() {  // an error where it shows several digits
    if (this.pixels === undefined) {
      this.pixels = null;
      try {
        if (this.root.classList.contains("drawn")) this.pixels = asMnist(this.drawing());
      } catch (error) {
        this.error = `${this.side[0].toUpperCase()}${this.side.slice(1)}: ${error.message}; draw one digit.`;
      }
    }
    if (this.pixels) this.error = null;
    paint(this.seen, 14, 14, (x, y) => this.pixels?.[14 * y + x] ?? 0);
    return this.pixels;
  }
}

const share = p => p > 0.9995 ? "> 99.9 %" : p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`;
const larger = isLeft => isLeft ? "left is larger" : "right is larger, or equal";

function classesPlot(side, posterior, outputs) {
  const plot = element("div", `classes ${side}`), likeliest = posterior.indexOf(Math.max(...posterior));
  posterior.forEach((p, digit) => {
    const bar = element("i", "");
    bar.style.height = `${2.4 * p}rem`;
    plot.append(element("span", "", bar, String(digit)));
  });
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${side}: most likely ${likeliest}, ${share(posterior[likeliest])}`);
  return element("div", "", element("h4", "", `${side}: P(${outputs === "digits" ? "digit" : "latent class"})`), plot);
}

function productsTable([first, second], greater) {  // P(a) P(b): the comparison adds up each colour
  const table = element("div", "table", element("span", "", ""));
  second.forEach((_, b) => table.append(element("span", "", String(b))));
  first.forEach((p, a) => {
    table.append(element("span", "", String(a)));
    second.forEach((q, b) => {
      const cell = element("span", a > b ? "left" : "right");
      cell.style.opacity = 0.07 + 0.93 * Math.sqrt(p * q);
      table.append(cell);
    });
  });
  table.setAttribute("role", "img");
  table.setAttribute("aria-label", `Table of products; those where left is larger add up to ${share(greater)}`);
  const title = "P(left is a) P(right is b): rows a, columns b.";
  const sums = ` Blue adds up to ${share(greater)}, orange to ${share(1 - greater)}.`;
  return element("div", "", element("h4", "", title + sums), table);
}

function mapsFigure({ kinds, map }) {  // all maps of a block side by side, from its least to its largest value
  const { channels, side, data } = map, canvas = element("canvas", "");
  const columns = Math.min(channels, side > 5 ? 8 : side > 1 ? 16 : 50), cell = side > 1 ? side + 1 : 1;
  const low = data.reduce((a, b) => Math.min(a, b)), high = data.reduce((a, b) => Math.max(a, b));
  paint(canvas, columns * cell, Math.ceil(channels / columns) * cell, (x, y) => {
    const channel = Math.floor(y / cell) * columns + Math.floor(x / cell), [row, column] = [y % cell, x % cell];
    if (channel >= channels || row >= side || column >= side) return null;
    return 255 * (data[(channel * side + row) * side + column] - low) / (high - low || 1);
  });
  const what = side > 1 ? `${channels} maps of ${side}×${side}` : `${channels} values`;
  const caption = `${kinds.map(kind => kind === "relu" ? "ReLU" : kind).join(", ")}: ${what}`;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  return element("figure", "", canvas, element("figcaption", "", caption));
}

class Card {
  constructor(net) {
    this.net = net;
    const error = net.testError === null ? "test error not known" : `test error ${share(net.testError)}`;
    const recipe = net.recipe ? `recipe ${net.recipe}, ` : "", runs = net.runs > 1 ? ` of ${net.runs} runs` : "";
    const member = net.ensemble > 1 ? `, one of ${net.ensemble} nets whose average has this test error` : "";
    const origin = element("small", "", `${net.study}: ${recipe}seed ${net.seed}${runs}${member}`);
    this.bar = element("div", "bar");
    this.shares = element("div", "row shares");
    this.read = element("div", "read");
    this.inside = element("div", "");
    this.details = element("details", "", element("summary", "", `Inside ${net.model}`), this.inside);
    this.details.open = net === nets[0] || innerWidth > 864;
    this.details.addEventListener("toggle", () => this.showInside());
    const heading = element("div", "row", element("h3", "", net.model), element("b", "", error));
    this.root = element("li", "", heading, origin, this.bar, this.shares, this.read, this.details);
  }

  show(pixels, truth) {
    this.drawn = pixels.map(Boolean);
    const asked = this.drawn.some(Boolean), both = this.drawn.every(Boolean);
    this.answer = asked ? this.net.answer(pixels.map(digit => digit ?? Array(196).fill(0))) : null;
    const { greater, reads } = this.answer ?? {}, isLeft = greater > 0.5;
    this.isWrong = both && truth !== null && truth !== isLeft;
    this.bar.classList.toggle("told", both);
    this.bar.style.setProperty("--share", `${100 * greater}%`);
    this.shares.replaceChildren(...both ? [element("span", isLeft ? "left wins" : "left", `left ${share(greater)}`),
      element("span", isLeft ? "right" : "right wins", `right or equal ${share(1 - greater)}`)] : []);
    this.read.replaceChildren(...both && reads ? ["reads ", element("span", "left", reads[0]), " and ",
      element("span", "right", reads[1])] : [], ...this.isWrong ? [element("b", "wrong", " wrong")] : []);
    this.showInside();
  }

  showInside() {  // only where it is open: to draw it takes longer than the answer
    if (!this.details.open) return;
    if (!this.answer) return this.inside.replaceChildren(element("small", "", "Nothing is drawn yet."));
    const { greater, views, posteriors } = this.answer, { head, outputs, together } = this.net;
    const parts = [];
    const shown = SIDES.map((side, i) => [side, i]).filter(([, i]) => this.drawn[i]);
    if (posteriors) {
      const plots = shown.map(([side, i]) => classesPlot(side, posteriors[i], outputs));
      const overview = element("div", "overview", element("div", "", ...plots));
      if (head.compares === "posteriors" && this.drawn.every(Boolean)) overview.append(productsTable(posteriors, greater));
      parts.push(overview);
    }
    if (outputs === "latent classes") {
      parts.push(element("small", "", "Latent classes: no label told this net what a digit is."));
    }
    const maps = (title, view) => element("div", "", element("h4", "", title),
      ...view.filter(({ kinds }) => kinds[0] === "conv" || kinds[0] === "linear").map(mapsFigure));
    parts.push(element("div", "sides", ...together ? [maps("both digits, as two channels", views[0])]
      : shown.map(([side, i]) => maps(`${side}: layers`, views[i]))));
    this.inside.replaceChildren(...parts);
  }
}

const pads = SIDES.map(side => new Pad(side)), cards = nets.map(net => new Card(net));
const verdict = document.querySelector("#verdict"), source = document.querySelector("#source");
const sign = document.querySelector(".sign"), hard = document.querySelector("#hard");
let timer = null, took = 0, next = 0;

function updateSoon() {
  timer ??= setTimeout(update, Math.max(PAUSE, took));  // as long a pause for the pen as the answer took
}

function update() {
  clearTimeout(timer);
  timer = null;
  const begun = performance.now(), pixels = pads.map(pad => pad.look()), [left, right] = pads.map(pad => pad.example?.label);
  const truth = left === undefined || right === undefined ? null : left > right;
  for (const card of cards) card.show(pixels, truth);
  const error = pads.find(pad => pad.error && !pad.pixels && pad.root.classList.contains("drawn"))?.error;
  if (error) say(error, "?");
  else summarise(pixels);
  tell(left, right, truth);
  took = performance.now() - begun;
}

function say(text, symbol) {
  if (verdict.textContent !== text) verdict.textContent = text;  // is read out when it changes
  sign.textContent = symbol;
}

function summarise([left, right]) {
  if (!left && !right) return say("Draw a digit in each field.", "?");
  if (!left || !right) return say(`Now draw a digit on the ${left ? "right" : "left"}.`, "?");
  const [best, ...others] = cards, isLeft = best.answer.greater > 0.5, { reads } = best.answer;
  const against = others.filter(card => card.answer.greater > 0.5 !== isLeft).map(card => card.net.model);
  const read = reads ? ` It reads ${reads[0]} and ${reads[1]}.` : "";
  const agree = others.length === 0 ? "" : others.length === 1 ? " Both agree." : ` All ${cards.length} agree.`;
  const disagree = ` They disagree: ${against.join(" and ")} ${against.length > 1 ? "say" : "says"} ${larger(!isLeft)}.`;
  say(`${best.net.model}: ${larger(isLeft)}.${read}${against.length ? disagree : agree}`, isLeft ? ">" : "≤");
}

function tell(left, right, truth) {  // where both are test digits, what they are
  const wrong = cards.filter(card => card.isWrong).map(card => card.net.model).join(", ");
  const result = wrong ? `Wrong: ${wrong}.` : "All nets are right.";
  const text = truth === null ? "" : `Test digits ${left} and ${right}: ${larger(truth)}. ${result}`;
  if (source.textContent !== text) source.textContent = text;
}

hard.addEventListener("click", () => {
  content.hard[next].forEach((place, i) => pads[i].put(examples[place]));
  next = (next + 1) % content.hard.length;
  update();
});
hard.disabled = content.hard.length === 0;  // no net makes a mistake
document.querySelector("#note").textContent = nets.length === 1 ? "" : nets[0].testError === null
  ? "No test error is known, so the first net leads." : "The net with the lowest test error leads.";
document.querySelector("#nets").append(...cards.map(card => card.root));
update();
