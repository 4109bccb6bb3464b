// The model runs in the server that this page is from.

async function ask(path, body) {
  let reply;
  try {
    reply = await fetch(path, body ? { method: "POST", body } : {});
  } catch {
    throw new Error("The server has ended; start `imagetrail demo` again and reload this page.");
  }
  const found = await reply.json();
  if (!reply.ok && !found.answers) throw new Error(found.error);
  return found;
}

const facts = ask("version");
export const about = () => facts;

/** {class, probability, unsure, top: [{class, probability}], milliseconds} of a picture file. */
export async function answer(file) {
  const { megabytes } = await facts;
  if (file.size > megabytes << 20) throw new Error(`This is larger than ${megabytes} megabytes.`);
  const { answers: [one], milliseconds } = await ask("predict", file);
  if (one.error) throw new Error(`This cannot be read: ${one.error}.`);
  return { ...one, milliseconds };
}

/** {picture or null, tried, milliseconds, nearest: [{class, picture}], reason}: where the model looked, and what is like it. */
export const look = (file) => ask("look", file);
