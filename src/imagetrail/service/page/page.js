import { about, answer, look } from "./engine.js";

const TINY = 200; // pixels: below that, a picture is shown by its pixels
const LEAST = 0.0005; // probability that is shown: less would read 0.0 %
const $ = (id) => document.getElementById(id);
let turn = 0; // of the picture that was given last: answers about others are not shown
let stream = null; // of the camera

function el(tag, props, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

const percent = (p) => `${(100 * p).toFixed(1)} %`;
const time = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`);

function crisp() {
  this.classList.toggle("pixels", this.naturalWidth < TINY);
}

function fail(text) {
  $("fault").textContent = text;
  $("fault").hidden = !text;
}

// ---- a picture is given ----

async function take(file) {
  const mine = ++turn;
  fail("");
  $("found").hidden = true;
  show(file);
  try {
    const found = await answer(file);
    if (mine !== turn) return;
    tell(found);
    if (look) await explain(file, mine);
  } catch (error) {
    if (mine === turn) fail(error.message);
  }
}

function show(file) {
  const picture = $("picture");
  URL.revokeObjectURL(picture.src);
  picture.onload = crisp;
  picture.onerror = () => { // a kind that this browser does not draw, though the model may read it
    picture.hidden = true;
    $("hint").hidden = false;
    $("hint").textContent = `${file.name || "The picture"} cannot be shown here.`;
  };
  picture.src = URL.createObjectURL(file);
  picture.alt = `Your picture${file.name ? `: ${file.name}` : ""}`;
  picture.hidden = false;
  $("hint").hidden = true;
}

// ---- the answer ----

function tell(found) {
  $("found").classList.toggle("unsure", found.unsure);
  $("verdict").textContent = found.unsure ? `Unsure: perhaps ${found.class}` : found.class;
  $("sure").textContent = found.unsure
    ? `No class reaches ${percent(threshold)}.`
    : `For pictures like those that the model knows: of answers at ${percent(found.probability)}, about that share is right.`;
  const likely = found.top.filter((one, rank) => !rank || one.probability >= LEAST);
  $("bars").replaceChildren(...likely.map((one) => el("li", {},
    el("span", { textContent: one.class }),
    el("b", { textContent: percent(one.probability) }),
    el("meter", { min: 0, max: 1, value: one.probability, ariaLabel: `${one.class}: ${percent(one.probability)}` }))));
  $("times").textContent = `Answered in ${time(found.milliseconds)}.`;
  $("status").textContent = "";
  $("looked").hidden = $("alike").hidden = $("unusual").hidden = true;
  $("found").hidden = false;
  $("verdict").focus({ preventScroll: true });
  $("found").scrollIntoView({ block: "nearest" });
}

async function explain(file, mine) {
  $("status").textContent = "Looking at where it looked …";
  const found = await look(file).finally(() => { if (mine === turn) $("status").textContent = ""; });
  if (mine !== turn) return;
  $("unusual").hidden = !found.unusual;
  $("heat").hidden = $("means").hidden = !found.picture;
  if (found.picture) $("heat").src = found.picture;
  $("tried").textContent = found.tried;
  $("heat").alt = `The picture as the model gets it, and beside it where the answer ${found.class} comes from, in orange`;
  $("looked").hidden = false;
  $("times").textContent += ` Where it looked: ${time(found.milliseconds)}.`;
  $("nearest").replaceChildren(...found.nearest.map((one) => el("li", {}, el("figure", {},
    el("img", { src: one.picture, alt: `A training picture of ${one.class}`, onload: crisp }),
    el("figcaption", { textContent: one.class })))));
  $("reason").textContent = found.reason;
  $("alike").hidden = false;
}

// ---- ways to give one ----

$("choose").onclick = () => $("file").click();
$("file").onchange = () => {
  if ($("file").files.length) take($("file").files[0]);
  $("file").value = ""; // so that the same file may be chosen again
};

const well = $("well");
addEventListener("dragover", (event) => { event.preventDefault(); well.classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) well.classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  well.classList.remove("over");
  given(event.dataTransfer, "That was no picture file.");
});
addEventListener("paste", (event) => given(event.clipboardData, "There is no picture to paste."));

function given(transfer, otherwise) {
  const [file] = transfer.files;
  if (!file) return fail(otherwise);
  if (stream) stop();
  take(file);
}

// ---- the camera ----

$("camera").onclick = () => (stream ? stop() : start());

async function start() {
  fail("");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const why = error.name === "NotAllowedError" ? "The camera may not be used: allow it in the browser." : "There is no camera here.";
    return fail(`${why} Choose a picture instead.`);
  }
  $("video").srcObject = stream;
  await $("video").play();
  camera(true);
}

function stop() {
  stream.getTracks().forEach((track) => track.stop());
  stream = null;
  camera(false);
}

function camera(on) {
  $("video").hidden = $("shoot").hidden = !on;
  $("choose").hidden = on;
  $("camera").textContent = on ? "Stop the camera" : "Use the camera";
  $("camera").ariaPressed = on;
  if (on) $("picture").hidden = $("hint").hidden = true;
  else if (!$("picture").src) $("hint").hidden = false;
}

$("shoot").onclick = () => {
  const video = $("video");
  const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  stop();
  canvas.toBlob((blob) => take(blob), "image/png");
};

// ---- the model ----

let threshold = 0;
try {
  const model = await about();
  const [height, width, channels] = model.shape;
  threshold = model.unsure;
  $("about").textContent = `${model.classes.length} classes, ${width}×${height} ${channels === 1 ? "grey" : "colour"}, model ${model.model.slice(0, 12)}.`
    + (look ? "" : " It runs in this browser: your picture stays here.");
} catch (error) {
  $("about").textContent = "";
  fail(error.message);
}
