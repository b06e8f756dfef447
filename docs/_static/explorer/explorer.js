/* An autoencoder that runs in the page. A view is <div class="aelib-explorer" data-view="map" data-models="a b">.

   The models come from NAME.js beside this file (make explorer), TensorFlow.js computes them. Everything is loaded by
   script elements, so that a page that was opened as a file works like one from a server. */

window.AelibExplorer ??= (() => {
  "use strict";

  const BASE = document.currentScript.src.replace(/[^/]*$/, "");
  const COLORS = "#1f77b4 #ff7f0e #2ca02c #d62728 #9467bd #8c564b #e377c2 #7f7f7f #bcbd22 #17becf".split(" ");
  const STEPS = 7; // images of a path
  const SIDE = 28;
  const models = {};
  const shared = {};
  const scripts = {};

  // ---- loading

  function script(name) {
    return (scripts[name] ??= new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = BASE + name;
      element.async = false; // fetched side by side, run in order
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${name} could not be loaded`));
      document.head.append(element);
    }));
  }

  /* Loops, because iterating over half a million letters by Uint8Array.from takes ten times as long. */
  function bytes(base64) {
    const letters = atob(base64), found = new Uint8Array(letters.length);
    for (let i = 0; i < found.length; i++) found[i] = letters.charCodeAt(i);
    return found.buffer;
  }

  const POWERS = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 15));

  function halves(base64) {
    const codes = new Uint16Array(bytes(base64)), found = new Float32Array(codes.length);
    for (let i = 0; i < found.length; i++) {
      const exponent = (codes[i] >> 10) & 31, fraction = (codes[i] & 1023) / 1024;
      const size = exponent ? (1 + fraction) * POWERS[exponent] : fraction * POWERS[1];
      found[i] = codes[i] & 0x8000 ? -size : size;
    }
    return found;
  }

  function add(facts) {
    const weights = halves(facts.weights);
    let at = 0;
    const layers = facts.layers.map(([part, inputs, outputs, activation]) => {
      const kernel = tf.tensor2d(weights.subarray(at, at + inputs * outputs), [inputs, outputs]);
      at += inputs * outputs;
      const bias = tf.tensor1d(weights.subarray(at, at + outputs));
      at += outputs;
      return { part, kernel, bias, activation };
    });
    const code = layers.filter((layer) => layer.part === "encoder").at(-1).bias.size;
    models[facts.name] = { ...facts, layers, size: code, codes: facts.codes && halves(facts.codes) };
  }

  function digits(facts) {
    shared.labels = facts.labels;
    const pixels = new Uint8Array(bytes(facts.digits));
    shared.digits = Array.from({ length: 10 }, (_, digit) =>
      Array.from(pixels.subarray(digit * SIDE * SIDE, (digit + 1) * SIDE * SIDE), (value) => value / 255));
  }

  async function load(names) {
    const files = ["tf-core.min", "tf-backend-cpu.min", "digits", ...names];
    await Promise.all(files.map((name) => script(`${name}.js`)));
    await tf.setBackend("cpu");
  }

  // ---- the models: one row of numbers, or several, in and out

  function run(name, part, rows) {
    const result = tf.tidy(() => {
      let x = tf.tensor2d(rows);
      for (const layer of models[name].layers) {
        if (layer.part !== part) continue;
        x = tf.add(tf.matMul(x, layer.kernel), layer.bias);
        if (layer.activation !== "linear") x = tf[layer.activation](x);
      }
      return x.arraySync();
    });
    if (part === "decoder") api.firstDecode ??= performance.now();
    return result;
  }
  const encode = (name, rows) => run(name, "encoder", rows);
  const decode = (name, rows) => run(name, "decoder", rows);

  // ---- small parts of a page

  function make(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(properties))
      if (key in element) element[key] = value;
      else element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function picture(label, count = 1) {
    return make("canvas", { width: SIDE * count, height: SIDE, className: "ae-image", role: "img", "aria-label": label });
  }

  /* Ink is black on white in the dark theme too, as in the lessons' figures. */
  function show(canvas, ...images) {
    const context = canvas.getContext("2d");
    images.forEach((image, number) => {
      const data = context.createImageData(SIDE, SIDE);
      image.forEach((value, i) => data.data.set([255, 255, 255].map((white) => white * (1 - value)).concat(255), 4 * i));
      context.putImageData(data, number * SIDE, 0);
    });
  }

  const mix = (a, b, share) => a.map((value, i) => (1 - share) * value + share * b[i]);
  const along = (a, b) => Array.from({ length: STEPS }, (_, i) => mix(a, b, i / (STEPS - 1)));
  const rounded = (value) => value.toFixed(2).replace("-", "\u2212");

  function legend() {
    const list = make("ul", { className: "ae-legend", "aria-label": "colours of the digits" });
    COLORS.forEach((color, digit) => {
      const dot = make("span");
      dot.style.background = color;
      list.append(make("li", {}, dot, String(digit)));
    });
    return list;
  }

  /* The map of a model's codes. Places are shares of its frame, (0, 0) at the left below, so that one place can be
     shown in several maps whose codes have different sizes. */
  function codeMap(name, size = 220) {
    const model = models[name];
    const [x, y] = model.spread.map(([low, , , , high]) => [low - (high - low) / 6, high + (high - low) / 6]);
    const canvas = make("canvas", { width: 2 * size, height: 2 * size, className: "ae-map" });
    const context = canvas.getContext("2d");
    const toCode = ([a, b]) => [x[0] + a * (x[1] - x[0]), y[0] + b * (y[1] - y[0])];
    const toPlace = ([a, b]) => [(a - x[0]) / (x[1] - x[0]), (b - y[0]) / (y[1] - y[0])];
    const onCanvas = ([a, b]) => [a * canvas.width, (1 - b) * canvas.height];

    function draw(marks = []) {
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < shared.labels.length; i++) {
        const [left, top] = onCanvas(toPlace(model.codes.subarray(2 * i, 2 * i + 2)));
        context.fillStyle = COLORS[shared.labels[i]];
        context.beginPath();
        context.arc(left, top, 4, 0, 7);
        context.fill();
      }
      const points = marks.filter((mark) => mark.text);
      if (points.length === 2) {
        context.strokeStyle = "#000";
        context.lineWidth = 2;
        context.beginPath();
        points.forEach((mark) => context.lineTo(...onCanvas(mark.place)));
        context.stroke();
      }
      context.font = "bold 26px sans-serif";
      for (const { place, text } of marks) {
        const [left, top] = onCanvas(place);
        context.lineWidth = 3;
        context.strokeStyle = "#000";
        context.fillStyle = text ? "#000" : "#fff";
        context.beginPath();
        context.arc(left, top, text ? 6 : 11, 0, 7);
        if (!text) context.globalAlpha = 0.6;
        context.fill();
        context.globalAlpha = 1;
        context.stroke();
        if (text) {
          context.strokeStyle = "#fff";
          context.lineWidth = 6;
          context.strokeText(text, left + 10, top - 10);
          context.fillText(text, left + 10, top - 10);
        }
      }
    }
    return { canvas, draw, toCode, toPlace };
  }

  // ---- view 1: the map

  function mapView(root, names) {
    let pointer = [0.5, 0.5];
    let ends = [[0.25, 0.3], [0.75, 0.7]];
    const status = make("p", { className: "ae-status", role: "status" });
    const panels = names.map((name) => {
      const map = codeMap(name), now = picture(`${models[name].title}: the image decoded from the pointer's place`);
      const code = picture(`${models[name].title}: from A to B in the code`, STEPS);
      const pixels = picture(`${models[name].title}: from A to B in the pixels`, STEPS);
      Object.assign(map.canvas, { tabIndex: 0 });
      map.canvas.setAttribute("role", "application");
      map.canvas.setAttribute("aria-label",
        `${models[name].title}: map of the codes of test digits. Arrow keys move the pointer, Enter sets A, then B.`);
      const panel = make("div", { className: "ae-panel" },
        make("p", { className: "ae-title" }, models[name].title),
        make("div", { className: "ae-pair" }, map.canvas, now),
        make("p", { className: "ae-note" }, "A to B, in the code"), code,
        make("p", { className: "ae-note" }, "A to B, in the pixels"), pixels);
      return { name, map, now, code, pixels, panel };
    });

    function update(path = false) {
      for (const { name, map, now, code, pixels } of panels) {
        map.draw([...ends.map((place, i) => ({ place, text: "AB"[i] })), { place: pointer }]);
        show(now, ...decode(name, [map.toCode(pointer)]));
        if (path && ends.length === 2) {
          const images = decode(name, along(...ends.map(map.toCode)));
          show(code, ...images);
          show(pixels, ...along(images[0], images.at(-1)));
        }
      }
      status.textContent = "Pointer at code " + panels.map(({ name, map }) =>
        `(${map.toCode(pointer).map(rounded).join(", ")}) ${models[name].title}`).join("; ");
    }
    function setEnd() {
      ends = ends.length === 2 ? [pointer] : [...ends, pointer];
      update(true);
    }

    let waiting = false;
    for (const { map } of panels) {
      const move = (event) => {
        const box = map.canvas.getBoundingClientRect();
        pointer = [(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height]
          .map((share) => Math.min(1, Math.max(0, share)));
        if (waiting) return;
        waiting = true;
        requestAnimationFrame(() => { waiting = false; update(); });
      };
      map.canvas.addEventListener("pointermove", move);
      map.canvas.addEventListener("pointerdown", (event) => { move(event); map.canvas.setPointerCapture(event.pointerId); });
      map.canvas.addEventListener("click", setEnd);
      map.canvas.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (step) pointer = pointer.map((share, i) => Math.min(1, Math.max(0, share + step[i] * (event.shiftKey ? 0.1 : 0.02))));
        else if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        if (step) update();
        else setEnd();
      });
    }
    root.append(
      make("p", {}, "Each point is the code of a test digit, each map in a frame of its own. Move over a map: all models " +
        "decode the same place of their frames. Click to set A, and again to set B. With the keyboard: arrows, Enter."),
      legend(), make("div", { className: "ae-panels" }, ...panels.map(({ panel }) => panel)), status);
    update(true);
  }

  // ---- view 2: draw a digit

  /* As MNIST was made: scaled into a box of 20 by 20 pixels, the centre of mass in the middle of 28 by 28. */
  function centred(canvas) {
    const { width, height } = canvas;
    const ink = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    let [left, right, top, bottom] = [width, -1, height, -1];
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        if (ink[4 * (y * width + x) + 3] > 20) {
          left = Math.min(left, x), right = Math.max(right, x), top = Math.min(top, y), bottom = Math.max(bottom, y);
        }
    if (right < 0) return null;
    const scale = 20 / Math.max(right - left + 1, bottom - top + 1);
    const draw = (dx, dy) => {
      const small = make("canvas", { width: SIDE, height: SIDE }).getContext("2d", { willReadFrequently: true });
      small.imageSmoothingQuality = "high";
      small.setTransform(scale, 0, 0, scale, dx, dy);
      small.drawImage(canvas, 0, 0);
      const data = small.getImageData(0, 0, SIDE, SIDE).data;
      return Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i + 3] / 255);
    };
    const start = [4 - left * scale, 4 - top * scale];
    const image = draw(...start);
    const total = image.reduce((sum, value) => sum + value, 0);
    const mass = (coordinate) => image.reduce((sum, value, i) => sum + value * (coordinate(i) + 0.5), 0) / total;
    const x = mass((i) => i % SIDE), y = mass((i) => Math.floor(i / SIDE));
    return draw(start[0] + Math.round(SIDE / 2 - x), start[1] + Math.round(SIDE / 2 - y));
  }

  function normal() {
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  }

  function drawView(root, names) {
    const place = names.find((name) => models[name].size === 2);
    const rebuilders = names.filter((name) => name !== place);
    const pad = make("canvas", { width: 280, height: 280, className: "ae-pad", tabIndex: 0 });
    pad.setAttribute("role", "application");
    pad.setAttribute("aria-label", "Field to draw on. Arrow keys move the pen, the space bar lowers and lifts it.");
    const context = pad.getContext("2d", { willReadFrequently: true });
    Object.assign(context, { lineWidth: 24, lineCap: "round", lineJoin: "round" });
    let image = null, pen = [140, 140], down = false, harm = null;

    const seen = picture("what the models see");
    const damage = make("select", { "aria-label": "damage" },
      ...["no damage", "masked pixels", "noise"].map((text) => make("option", {}, text)));
    const amount = make("input", { type: "range", min: 0.1, max: 0.9, step: 0.1, value: 0.5, "aria-label": "how much damage" });
    const status = make("p", { className: "ae-status", role: "status" });
    const map = place && codeMap(place, 110);
    const panels = rebuilders.map((name) => {
      const rebuilt = picture(`${models[name].title}: reconstruction`), text = make("p", { className: "ae-note" });
      return { name, rebuilt, text, panel: make("div", { className: "ae-panel" },
        make("p", { className: "ae-title" }, models[name].title), rebuilt, text) };
    });

    function update() {
      const clean = image ?? new Array(SIDE * SIDE).fill(0);
      const share = Number(amount.value);
      harm ??= clean.map(() => [Math.random(), normal()]);
      const input = [
        () => clean,
        () => clean.map((value, i) => (harm[i][0] < share ? 0 : value)),
        () => clean.map((value, i) => value + share * harm[i][1]),
      ][damage.selectedIndex]();
      amount.disabled = damage.selectedIndex === 0;
      show(seen, input.map((value) => Math.min(1, Math.max(0, value))));
      for (const { name, rebuilt, text } of panels) {
        const [result] = decode(name, encode(name, [input]));
        show(rebuilt, result);
        const error = result.reduce((sum, value, i) => sum + (value - clean[i]) ** 2, 0);
        const rank = models[name].errors.filter((each) => each < error).length;
        text.textContent = image === null ? "" : `squared error ${error.toFixed(1)}` +
          (damage.selectedIndex ? " to the undamaged drawing"
            : rank > 100 ? ", larger than that of every test digit: odd"
            : `, larger than that of ${Math.max(0, rank - 1)} % of the test digits` + (rank > 95 ? ": odd" : ""));
      }
      if (map) map.draw(image === null ? [] : [{ place: map.toPlace(encode(place, [input])[0]) }]);
      status.textContent = image === null ? "Draw a digit, or take one of the ten test digits." : "";
    }
    function redrawn() {
      image = centred(pad);
      update();
    }
    function line(to) {
      context.beginPath();
      context.moveTo(...pen);
      context.lineTo(...to);
      context.stroke();
      pen = to;
    }
    function clear() {
      context.clearRect(0, 0, pad.width, pad.height);
      image = harm = null;
      update();
    }
    const at = (event) => {
      const box = pad.getBoundingClientRect();
      return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      down = true;
      pen = at(event);
      line(pen);
      redrawn();
    });
    pad.addEventListener("pointermove", (event) => { if (down && event.pressure) { line(at(event)); redrawn(); } });
    for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { down = false; });
    pad.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-14, 0], ArrowRight: [14, 0], ArrowUp: [0, -14], ArrowDown: [0, 14] }[event.key];
      if (event.key === " ") down = !down;
      else if (!step) return;
      event.preventDefault();
      const to = pen.map((value, i) => Math.min(268, Math.max(12, value + (step?.[i] ?? 0))));
      if (down) { line(to); redrawn(); }
      pen = to;
      status.textContent = `The pen is ${down ? "down" : "up"}, at ${Math.round(pen[0] / 10)}, ${Math.round(pen[1] / 10)} of 28.`;
    });
    pad.addEventListener("blur", () => { down = false; });
    const examples = shared.digits.map((pixels, digit) => make("button", {
      type: "button", "aria-label": `test digit ${digit}`,
      onclick() {
        clear();
        const small = picture("");
        const data = small.getContext("2d").createImageData(SIDE, SIDE);
        pixels.forEach((value, i) => { data.data[4 * i + 3] = 255 * value; });
        small.getContext("2d").putImageData(data, 0, 0);
        context.drawImage(small, 0, 0, 280, 280);
        image = pixels;
        update();
      },
    }, String(digit)));
    damage.onchange = amount.oninput = update;
    root.append(
      make("div", { className: "ae-row" },
        make("div", {}, make("p", { className: "ae-title" }, "draw a digit"), pad),
        make("div", { className: "ae-side" },
          make("p", { className: "ae-title" }, "what the models see"), seen,
          make("div", { className: "ae-buttons" }, make("button", { type: "button", onclick: clear }, "clear"), damage, amount),
          make("p", { className: "ae-note" }, "or a test digit"), make("div", { className: "ae-buttons" }, ...examples)),
        ...(map ? [make("div", {}, make("p", { className: "ae-title" }, `its place, ${models[place].title}`), map.canvas, legend())] : [])),
      status,
      make("div", { className: "ae-panels" }, ...panels.map(({ panel }) => panel)));
    if (map) map.canvas.setAttribute("role", "img"), map.canvas.setAttribute("aria-label", "map with the drawing's place");
    examples[5].click();
  }

  // ---- view 3: turn one number

  function codeView(root, names) {
    let name = names[0], code, walking = 0;
    const image = picture("the image decoded from the sliders' code"), sliders = make("div", { className: "ae-sliders" });
    const choice = make("select", { "aria-label": "model" }, ...names.map((each) => make("option", { value: each }, models[each].title)));
    const start = make("select", { "aria-label": "digit to start from" }, ...shared.digits.map((_, digit) => make("option", {}, `digit ${digit}`)));
    start.selectedIndex = 3;
    const own = (digit) => encode(name, [shared.digits[digit]])[0];
    const quantile = (spread, share) => {
      const at = [0.02, 0.1, 0.5, 0.9, 0.98], i = Math.min(3, Math.max(0, at.findLastIndex((each) => each <= share)));
      return spread[i] + (spread[i + 1] - spread[i]) * (share - at[i]) / (at[i + 1] - at[i]);
    };

    function update() {
      show(image, ...decode(name, [code]));
      [...sliders.querySelectorAll("input")].forEach((input, i) => { input.value = code[i]; });
    }
    function stop() {
      walking = 0;
      walk.textContent = "walk";
    }
    function rebuild() {
      stop();
      code = own(start.selectedIndex);
      // one range for all, so that a number that hardly changes has a narrow band
      const spreads = models[name].spread;
      const min = Math.min(...spreads.map(([lowest]) => lowest)), max = Math.max(...spreads.map((spread) => spread[4]));
      sliders.replaceChildren(...spreads.map(([, low, , high], i) => {
        const input = make("input", { type: "range", min, max, step: (max - min) / 200,
          oninput() { stop(); code[i] = Number(input.value); show(image, ...decode(name, [code])); } });
        input.setAttribute("aria-label", `number ${i + 1} of the code`);
        const share = (value) => `${(100 * (value - min) / (max - min)).toFixed(1)}%`;
        input.style.setProperty("--low", share(low));
        input.style.setProperty("--high", share(high));
        return make("label", {}, make("span", {}, String(i + 1)), input);
      }));
      update();
    }
    function random() {
      stop();
      code = models[name].spread.map((spread) => quantile(spread, Math.random()));
      update();
    }
    function step(run, from, to, time) {
      if (walking !== run) return;
      code = mix(from, to, Math.min(1, time));
      update();
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (time < 1) setTimeout(() => step(run, from, to, time + (calm ? 0.25 : 0.03)), calm ? 1000 : 40);
      else {
        start.selectedIndex = (start.selectedIndex + 1) % 10;
        step(run, code, own((start.selectedIndex + 1) % 10), 0);
      }
    }
    const walk = make("button", { type: "button", onclick() {
      if (walking) return stop();
      walking = performance.now();
      walk.textContent = "stop";
      step(walking, code, own((start.selectedIndex + 1) % 10), 0);
    } }, "walk");
    choice.onchange = () => { name = choice.value; rebuild(); };
    start.onchange = rebuild;
    root.append(
      make("p", {}, "Move one number of a code, and see what it means to the decoder. The band of a slider holds the " +
        "codes of eight in ten test digits; all sliders have one range."),
      make("div", { className: "ae-buttons" }, choice, start,
        make("button", { type: "button", onclick: random }, "random"),
        make("button", { type: "button", onclick: rebuild }, "reset"), walk),
      make("div", { className: "ae-row" }, image, sliders));
    image.classList.add("ae-large");
    rebuild();
  }

  // ---- start, when a view comes near

  const views = { map: mapView, draw: drawView, code: codeView };

  async function start(root) {
    const names = root.dataset.models.split(" ");
    try {
      await load(names);
      root.replaceChildren();
      views[root.dataset.view](root, names);
      root.dataset.ready = "yes";
    } catch (error) {
      root.append(make("p", { role: "alert" }, `The explorer does not run here: ${error.message}.`));
      throw error;
    }
  }

  const started = new WeakSet();
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries)
      if (isIntersecting) {
        near.unobserve(target);
        if (started.has(target)) continue;
        started.add(target);
        start(target);
      }
  }, { rootMargin: "300px" });

  function find() {
    document.querySelectorAll(".aelib-explorer").forEach((root) => near.observe(root));
  }
  find(); // this view at once, those further down when they are there
  addEventListener("DOMContentLoaded", find);

  const api = { add, digits, encode, decode, load, centred, models };
  return api;
})();
