// The server: requests with the token where there is one, errors as it tells them, events as they come.

const KEY = "latentry-token";

/** An answer that is no success; its text is for a person. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const waiting = [];

export const token = () => sessionStorage.getItem(KEY) ?? "";

/** What asks for a token; it calls `useToken` once it has one. */
let askForToken = () => {};
export const onTokenNeeded = (ask) => (askForToken = ask);

export function useToken(value) {
  sessionStorage.setItem(KEY, value);
  for (const go of waiting.splice(0)) go();
}

const headers = () => (token() ? { Authorization: `Bearer ${token()}` } : {});

async function answered(path, how = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(path, { ...how, headers: { ...how.headers, ...headers() } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "The server does not answer. Is it still running?");
    }
    if (response.ok) return response;
    if (response.status !== 401) throw await problem(response);
    const refused = token() !== "";
    await new Promise((go) => {
      waiting.push(go);
      askForToken(refused);
    });
  }
}

async function problem(response) {
  let message = `The server answered ${response.status}.`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // not an answer of ours, such as a proxy's: its status must do
  }
  return new ApiError(response.status, message);
}

export const get = async (path) => (await answered(path)).json();

export const blob = async (path) => (await answered(path)).blob();

const asJson = (body) => ({ body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });

export async function send(method, path, body) {
  const how = body === undefined || body instanceof FormData ? { body } : asJson(body);
  return (await answered(path, { method, ...how })).json();
}

/** Server-sent events of a path, as (type, data), until they end or `signal` is aborted. */
export async function events(path, signal, told) {
  const reader = (await answered(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const one of whole) {
      const data = one.split("\n").find((line) => line.startsWith("data: "));
      if (data) {
        const event = JSON.parse(data.slice(6));
        told(event.type, event);
      }
    }
  }
}

/** Let an <img> show a picture of the server. With a token an address alone is not enough. */
export async function showIn(image, path) {
  if (!token()) {
    image.src = path;
    return;
  }
  const address = URL.createObjectURL(await blob(path));
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.src = address;
}
