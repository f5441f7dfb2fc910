// Makes pages more convenient; every page reads without it. Nothing is fetched from anywhere but this site.
"use strict";

const root = document.body.dataset.root || "";

// sha256 (FIPS 180-4). Browsers offer SubtleCrypto only on https and localhost; the chunk tree has messages so short
// that asking SubtleCrypto for each would take longer than hashing.
const K = new Uint32Array(64);
const START = new Uint32Array(8);
(() => {
  const fraction = (value) => Math.floor((value - Math.floor(value)) * 4294967296);
  for (let candidate = 2, found = 0; found < 64; candidate++) {
    let prime = true;
    for (let factor = 2; factor * factor <= candidate; factor++) if (candidate % factor === 0) { prime = false; break; }
    if (!prime) continue;
    if (found < 8) START[found] = fraction(Math.sqrt(candidate));
    K[found++] = fraction(Math.cbrt(candidate));
  }
})();

function sha256(...parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const padded = new Uint8Array(((length + 8) >> 6) * 64 + 64);
  let at = 0;
  for (const part of parts) { padded.set(part, at); at += part.length; }
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(length / 536870912));
  view.setUint32(padded.length - 4, (length << 3) >>> 0);
  const state = Uint32Array.from(START);
  const w = new Uint32Array(64);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(block + 4 * i);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }
  const out = new Uint8Array(32);
  const words = new DataView(out.buffer);
  state.forEach((word, i) => words.setUint32(4 * i, word));
  return out;
}

const isSubtle = Boolean(globalThis.crypto && globalThis.crypto.subtle);

async function digestOf(bytes) {
  return isSubtle ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : sha256(bytes);
}

const method = () => isSubtle ? "CID by the browser's SubtleCrypto" : "CID by this page's own sha256: no secure context here";
const hex = (bytes) => "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// CIDs: CIDv1, sha2-256, in the shape of profile unixfs-v1-2025 (raw up to 1 MiB, then dag-pb with 1024 links).
const CHUNK = 1 << 20, LINKS = 1024, RAW = 0x55, DAG_PB = 0x70;

function base32(bytes) {
  const letters = "abcdefghijklmnopqrstuvwxyz234567";
  let text = "", bits = 0, value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) { text += letters[(value >>> (bits - 5)) & 31]; bits -= 5; }
    value &= (1 << bits) - 1;
  }
  return bits ? text + letters[(value << (5 - bits)) & 31] : text;
}

function uvarint(value) {
  const out = [];
  while (value > 127) { out.push((value % 128) | 128); value = Math.floor(value / 128); }
  out.push(value);
  return out;
}

function join(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { out.set(part, at); at += part.length; }
  return out;
}

const bytesField = (number, payload) => join([uvarint(number * 8 + 2), uvarint(payload.length), payload]);
const numberField = (number, value) => join([uvarint(number * 8), uvarint(value)]);
const cidBytes = (codec, digest) => join([[1, codec, 0x12, 32], digest]);
const cidText = (bytes) => "b" + base32(bytes);

async function cidOf(bytes) {
  let level = [];
  for (let at = 0; at < Math.max(bytes.length, 1); at += CHUNK) {
    const leaf = bytes.subarray(at, at + CHUNK);
    level.push({ cid: cidBytes(RAW, await digestOf(leaf)), tsize: leaf.length, size: leaf.length });
  }
  while (level.length > 1) {
    const next = [];
    for (let at = 0; at < level.length; at += LINKS) {
      const children = level.slice(at, at + LINKS);
      const size = children.reduce((sum, child) => sum + child.size, 0);
      const links = children.map((child) =>
        bytesField(2, join([bytesField(1, child.cid), bytesField(2, []), numberField(3, child.tsize)])));
      const data = join([numberField(1, 2), numberField(3, size), ...children.map((child) => numberField(4, child.size))]);
      const block = join([...links, bytesField(1, data)]);
      next.push({
        cid: cidBytes(DAG_PB, await digestOf(block)),
        tsize: block.length + children.reduce((sum, child) => sum + child.tsize, 0), size,
      });
    }
    level = next;
  }
  return cidText(level[0].cid);
}

// Root of the chunk tree over a blob's payload; null when the bytes are no blob of Collegium.
function rootOf(bytes) {
  const magic = "CLGMBLOB";
  if (bytes.length <= 256 || bytes.length % 256 !== 0) return null;
  for (let i = 0; i < 8; i++) if (bytes[i] !== magic.charCodeAt(i)) return null;
  const zero = [0], one = [1];
  let filler = sha256(zero, new Uint8Array(256));
  let level = [];
  for (let at = 256; at < bytes.length; at += 256) level.push(sha256(zero, bytes.subarray(at, at + 256)));
  while (level.length > 1) {
    const next = [];
    for (let at = 0; at < level.length; at += 2) next.push(sha256(one, level[at], level[at + 1] || filler));
    filler = sha256(one, filler, filler);
    level = next;
  }
  return hex(level[0]);
}

function show(output, ok, text) {
  output.className = "verdict " + (ok === null ? "" : ok ? "good" : "bad");
  output.textContent = text;
}

async function reverify(button) {
  const output = button.parentElement.querySelector("output");
  const { cid, root: expected } = button.dataset;
  show(output, null, "fetching …");
  let bytes;
  try {
    const response = await fetch(root + "blobs/" + encodeURIComponent(cid), { credentials: "omit" });
    if (!response.ok) throw new Error("HTTP " + response.status);
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch {
    show(output, null, "Not checked: this site has no copy of the blob now. Fetch it from a store and check the file, or use the command.");
    return;
  }
  const found = await cidOf(bytes);
  if (found !== cid) { show(output, false, "✗ wrong: the bytes have CID " + found); return; }
  const tree = expected ? rootOf(bytes) : "";
  if (expected && tree !== expected) { show(output, false, "✗ wrong: the CID fits, the root is " + (tree || "none: no blob of Collegium")); return; }
  const size = bytes.length.toLocaleString("en");
  show(output, true, "✓ " + (expected ? "CID and root fit" : "the CID fits") + ": " + size + " bytes (" + method() + ")");
}

for (const button of document.querySelectorAll("button.verify")) {
  button.hidden = false;
  button.addEventListener("click", () => { button.disabled = true; reverify(button).finally(() => { button.disabled = false; }); });
}

// Copying the whole of a shortened value.
async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); } catch { return; }
  button.classList.add("done");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => { button.classList.remove("done"); button.setAttribute("aria-label", button.title); }, 1500);
}
if (navigator.clipboard) {
  for (const code of document.querySelectorAll("code.hash, pre.command code")) {
    const isHash = code.classList.contains("hash");
    const whole = isHash ? code.title : code.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "small copy";
    button.title = isHash ? "Copy " + whole.slice(0, 8) + "…" + whole.slice(-6) : "Copy the command";
    button.setAttribute("aria-label", button.title);
    button.addEventListener("click", () => copy(whole, button));
    code.after(button);
  }
}

// Countdowns run by the chain's clock: this computer's may be wrong.
const loaded = Date.now();
function tell(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const words = [];
  for (const [size, unit] of parts) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count || words.length) words.push(count + " " + unit);
    if (words.length === 2) break;
  }
  return words.join(" ") || "0 s";
}
const timers = [...document.querySelectorAll("[data-deadline]")];
function tick() {
  for (const each of timers) {
    const left = Number(each.dataset.deadline) - Number(each.dataset.now) - Math.floor((Date.now() - loaded) / 1000);
    each.textContent = left > 0 ? "(" + tell(left) + " left)" : "(its time is over)";
  }
}
if (timers.length && document.body.hasAttribute("data-live")) { tick(); setInterval(tick, 1000); }

for (const each of document.querySelectorAll("time[datetime]")) each.title = new Date(each.dateTime).toLocaleString();

// Served pages ask whether newer blocks were read.
if (document.body.hasAttribute("data-live")) {
  const news = document.querySelector(".news");
  setInterval(async () => {
    if (document.hidden || !news.hidden) return;
    try {
      const status = await (await fetch(root + "status.json", { credentials: "omit" })).json();
      if (status.changed_at > Number(document.body.dataset.block)) news.hidden = false;
    } catch { /* the server ended; the page stays readable */ }
  }, 5000);
}

// Checking any file.
const form = document.querySelector(".check-file");
if (form) {
  form.hidden = false;
  const result = document.querySelector(".result");
  const line = (text, tone) => {
    const paragraph = document.createElement("p");
    paragraph.className = "verdict " + (tone || "");
    paragraph.textContent = text;
    result.append(paragraph);
  };
  const judge = async () => {
    const input = form.querySelector("#file"), file = input.files[0];
    result.textContent = "";
    if (!file) return;
    if (file.size > Number(input.dataset.limit)) { line("This file is too large for the browser; use the command below.", "bad"); return; }
    const bytes = new Uint8Array(await file.arrayBuffer());
    const cid = await cidOf(bytes), tree = rootOf(bytes);
    for (const [name, found, wanted] of [["CID", cid, form.querySelector("#cid").value.trim()], ["Root", tree, form.querySelector("#root").value.trim().toLowerCase()]]) {
      if (found === null) { line(name + ": none; this is no blob of Collegium.", wanted ? "bad" : ""); continue; }
      line(name + ": " + found + (wanted ? (wanted === found ? " ✓ as expected" : " ✗ another one was expected") : ""), wanted ? (wanted === found ? "good" : "bad") : "");
    }
    line("Method: " + method() + "; root by this page's own sha256.");
  };
  form.addEventListener("change", judge);
  form.addEventListener("submit", (event) => { event.preventDefault(); judge(); });
}
