// The model runs here, in the browser, on pixels that are brought to its size as in training.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { pixels } from "./pixels.js";

ort.env.wasm.numThreads = 1; // more need headers that a plain server of files does not send
const facts = fetch("about.json").then((reply) => reply.json());
const session = ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });

export const about = async () => {
  await session.catch((error) => { throw new Error(`The model cannot be opened: ${error.message}`); });
  return facts;
};

export async function answer(file) {
  const { classes, shape, fit, top, unsure } = await facts;
  const begun = performance.now();
  let bitmap;
  try { // colours as they are stored, upright as EXIF has it
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error("This cannot be read: it is no picture that this browser knows.");
  }
  const images = new ort.Tensor("uint8", pixels(bitmap, shape, fit), [1, ...shape]);
  const { probabilities } = await (await session).run({ images }, ["probabilities"]);
  const ranked = Array.from(probabilities.data, (probability, k) => ({ class: classes[k], probability }));
  ranked.sort((a, b) => b.probability - a.probability);
  const milliseconds = performance.now() - begun;
  return { ...ranked[0], unsure: ranked[0].probability < unsure, top: ranked.slice(0, top), milliseconds };
}

export const look = null; // where it looked takes hundreds of answers
