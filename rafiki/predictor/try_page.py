"""A page to try an app in a browser: its form, its style and its script, of which nothing comes from elsewhere.

What an app or a user wrote is put into the page as text, never as markup. The key that is typed is kept by nobody. It
travels in exports, so it is text in a module.
"""

from __future__ import annotations

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
"""Of all three: the browser runs what this server sends, and asks no other."""

HTML = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Try an app</title>
<link rel="stylesheet" href="try.css">
</head>
<body>
<main>
<h1 id="name">...</h1>
<p id="about"></p>
<form id="form">
<div id="keyrow" hidden><label for="key">Key of the app</label>
<input id="key" type="password" autocomplete="off" spellcheck="false"></div>
<div id="filerow"><label for="file">A file, or drop one here</label>
<input id="file" type="file"><canvas id="preview" hidden></canvas> <span id="chosen"></span></div>
<label for="query">Query, as JSON</label>
<textarea id="query" rows="8" spellcheck="false"></textarea>
<p><button id="ask" type="submit">Predict</button> <span id="state" role="status"></span></p>
</form>
<section id="result" hidden><h2>Answer</h2><div id="bars"></div><pre id="answer"></pre></section>
<h2>The same from a shell</h2><pre id="curl"></pre>
<h2>The same from Python</h2><pre id="python"></pre>
<p><a href="openapi.json">openapi.json</a> describes all calls.</p>
</main>
<script src="try.js"></script>
</body>
</html>
"""

CSS = b"""body { font: 16px/1.5 system-ui, sans-serif; margin: 0; color: #1c1c1c; background: #fff; }
main { max-width: 46rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1rem; margin-bottom: .25rem; }
label { display: block; margin-top: .75rem; }
textarea, #key { box-sizing: border-box; width: 100%; font: 14px/1.4 ui-monospace, monospace; padding: .5rem; }
pre { background: #f4f4f4; padding: .5rem; overflow: auto; max-height: 24rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
button { font: inherit; padding: .35rem 1rem; }
canvas { max-width: 6rem; max-height: 6rem; vertical-align: middle; border: 1px solid #ccc; }
#filerow.over { outline: 2px dashed #36c; }
#state.failed { color: #a00; }
.bar { display: flex; gap: .5rem; align-items: center; font-variant-numeric: tabular-nums; }
.bar span { min-width: 5rem; } .bar meter { flex: 1; }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #181818; } pre { background: #262626; }
  textarea, #key { color: #eee; background: #202020; border: 1px solid #555; }
  #state.failed { color: #f88; } a { color: #8af; }
}
"""

JS = rb""""use strict";
const $ = (id) => document.getElementById(id);
let app = { app: "", example: null, needs_key: false };
let binary = null; // An array in the npy format that is asked instead of the JSON.

function headers(more) {
  const key = $("key").value.trim();
  return key ? { ...more, Authorization: "Bearer " + key } : more;
}

function say(text, failed) {
  $("state").textContent = text;
  $("state").classList.toggle("failed", Boolean(failed));
}

async function load() {
  const answer = await fetch("openapi.json", { headers: headers({}), cache: "no-store" });
  const found = await answer.json();
  if (answer.status === 401) {
    $("keyrow").hidden = false;
    say(found.message, true);
    return false;
  }
  if (!answer.ok) throw new Error(found.message);
  app = found["x-rafiki"];
  document.title = app.app;
  $("name").textContent = app.app + (app.version ? " v" + app.version : "");
  $("about").textContent = app.about;
  $("keyrow").hidden = !app.needs_key;
  if (app.example !== null && !$("query").value) $("query").value = JSON.stringify(app.example);
  say("");
  snippets();
  return true;
}

// The npy format, version 1.0: a header whose length makes the whole a multiple of 64 bytes, then the elements.
function npy(descr, shape, bytes) {
  let text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape.join(", ") +
    (shape.length === 1 ? ",)" : ")") + ", }";
  text += " ".repeat((64 - ((10 + text.length + 1) % 64)) % 64) + "\n";
  const out = new Uint8Array(10 + text.length + bytes.length);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, text.length & 255, text.length >> 8]);
  for (let i = 0; i < text.length; i++) out[10 + i] = text.charCodeAt(i);
  out.set(bytes, 10 + text.length);
  return out;
}

async function readImage(file) {
  const image = await createImageBitmap(file);
  const canvas = $("preview");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, image.width, image.height).data;
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4, j += 3) {
    rgb[j] = rgba[i];
    rgb[j + 1] = rgba[i + 1];
    rgb[j + 2] = rgba[i + 2];
  }
  canvas.hidden = false;
  binary = npy("|u1", [image.height, image.width, 3], rgb);
  $("chosen").textContent = file.name + ", " + image.width + " x " + image.height;
}

async function readBase64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  $("query").value = JSON.stringify(btoa(text));
}

async function take(file) {
  binary = null;
  $("preview").hidden = true;
  $("chosen").textContent = file.name;
  try {
    if (file.name.endsWith(".npy")) binary = new Uint8Array(await file.arrayBuffer());
    else if (file.type.startsWith("image/")) await readImage(file);
    else if (file.type.startsWith("audio/") || file.name.endsWith(".wav")) await readBase64(file);
    else $("query").value = await file.text();
    say("");
  } catch (error) {
    say(file.name + " cannot be read: " + error.message, true);
  }
  snippets();
}

function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function snippets() {
  const address = new URL("predict", location.href).href;
  const key = app.needs_key ? " -H \"Authorization: Bearer $RAFIKI_KEY\"" : "";
  const host = location.host;
  const from = app.needs_key ? ", key=os.environ[\"RAFIKI_KEY\"]" : "";
  const python = (app.needs_key ? "import os\n" : "") + "from rafiki.client import PredictorClient\n";
  const opened = "with PredictorClient(\"" + host + "\"" + from;
  let text = $("query").value.trim();
  if (text.length > 2000) text = text.slice(0, 2000) + " ...";
  if (binary) {
    $("curl").textContent = "curl " + quoted(address) + key + " --data-binary @query.npy";
    $("python").textContent = "import numpy as np\n" + python + "\n" + opened +
      ", binary=True) as predictor:\n    print(predictor.predict(np.load(\"query.npy\")))";
    return;
  }
  $("curl").textContent = "curl " + quoted(address) + key + " -d " + quoted("{\"query\": " + text + "}");
  $("python").textContent = "import json\n" + python + "\n" + opened + ") as predictor:\n" +
    "    print(predictor.predict(json.loads(" + JSON.stringify(text) + ")))";
}

function show(prediction) {
  $("bars").replaceChildren();
  const numbers = Array.isArray(prediction) && prediction.length > 1 && prediction.length <= 1000 &&
    prediction.every((p) => typeof p === "number" && p >= 0 && p <= 1);
  if (!numbers || Math.abs(prediction.reduce((a, b) => a + b, 0) - 1) > 0.01) return;
  const best = prediction.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, 10);
  for (const [share, i] of best) {
    const row = document.createElement("div"), name = document.createElement("span");
    const value = document.createElement("span"), meter = document.createElement("meter");
    row.className = "bar";
    name.textContent = "class " + i;
    value.textContent = share.toFixed(4);
    meter.value = share;
    row.append(name, meter, value);
    $("bars").append(row);
  }
}

async function ask() {
  let body = binary, type = "application/x-npy";
  if (!binary) {
    try {
      body = JSON.stringify({ query: JSON.parse($("query").value) });
    } catch (error) {
      say("This is no JSON: " + error.message, true);
      return;
    }
    type = "application/json";
  }
  if (!app.app && !(await load())) return;
  $("ask").disabled = true;
  say("...");
  try {
    const began = performance.now();
    const answer = await fetch("predict", { method: "POST", body, headers: headers({ "Content-Type": type }) });
    const text = await answer.text();
    const took = (performance.now() - began).toFixed(1) + " ms";
    let found = null;
    try { found = JSON.parse(text); } catch (error) { found = null; }
    $("result").hidden = false;
    $("answer").textContent = found === null ? text : JSON.stringify(found, null, 1);
    show(answer.ok && found !== null ? found.prediction : null);
    say(answer.status + ", " + took, !answer.ok);
  } catch (error) {
    say("No answer: " + error.message, true);
  } finally {
    $("ask").disabled = false;
  }
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("key").addEventListener("change", () => { if (!app.app) load().catch((error) => say(error.message, true)); });
$("query").addEventListener("input", () => {
  binary = null;
  $("preview").hidden = true;
  $("chosen").textContent = "";
  snippets();
});
$("file").addEventListener("change", () => { if ($("file").files.length) take($("file").files[0]); });
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("filerow").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
load().catch((error) => say("The app does not answer: " + error.message, true));
"""
