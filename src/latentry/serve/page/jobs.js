// The jobs that the server has of ours: asked for often while one is under way, and told to whoever shows them.

import * as api from "./api.js";
import { say } from "./dom.js";

const SOON = 800;
const LATER = 10_000;
const PAGE = 60;
export const ENDS = ["completed", "failed", "cancelled", "interrupted"];

const listeners = new Set();
let known = new Map();
let timer = 0;
let asking = null;
let again = false;
let lost = false;

export const all = () => [...known.values()].sort((one, other) => other.created - one.created);
export const ended = (job) => ENDS.includes(job.status);
export const find = (id) => known.get(id);

/** Call it with all jobs, newest first, each time that something has changed. */
export function listen(listener) {
  listeners.add(listener);
  listener(all());
}

/** Ask the server now. */
export function refresh() {
  again = asking !== null;
  asking ??= ask().finally(() => {
    asking = null;
    plan();
  });
  return asking;
}

async function ask() {
  do {
    again = false;
    let newest;
    try {
      newest = (await api.get(`/v1/jobs?limit=${PAGE}`)).data;
    } catch (error) {
      if (!(error instanceof api.ApiError) || error.status !== 0) throw error;
      if (!lost) say(error.message);
      lost = true; // and asked again later
      return;
    }
    if (lost) say("The server answers again.");
    lost = false;
    const oldest = newest.length === PAGE ? newest.at(-1).created : 0;
    const older = [...known.values()].filter((job) => job.created < oldest);
    keep([...newest, ...older]);
  } while (again);
}

function plan() {
  clearTimeout(timer);
  const busy = all().some((job) => !ended(job));
  timer = setTimeout(() => (document.hidden ? plan() : refresh()), busy ? SOON : LATER);
}

document.addEventListener("visibilitychange", () => document.hidden || timer === 0 || refresh());

/** Those before the oldest that is known; whether there may be further ones. */
export async function earlier() {
  const found = (await api.get(`/v1/jobs?limit=${PAGE}&before=${all().at(-1)?.created ?? 0}`)).data;
  keep([...known.values(), ...found]);
  return found.length === PAGE;
}

function keep(jobs) {
  known = new Map(jobs.map((job) => [job.id, job]));
  for (const listener of listeners) listener(all());
}

export async function begin(body) {
  const job = await api.send("POST", "/v1/jobs", body);
  await refresh();
  return job;
}

export async function move(job, place) {
  await api.send("PATCH", `/v1/jobs/${job.id}`, { place });
  await refresh();
}

/** Cancel it; or remove it, once it has ended. */
export async function remove(job) {
  const { deleted } = await api.send("DELETE", `/v1/jobs/${job.id}`);
  if (deleted) known.delete(job.id);
  await refresh();
}

export async function retry(job) {
  const fresh = await api.send("POST", `/v1/jobs/${job.id}/retry`);
  if (job.status !== "completed") await api.send("DELETE", `/v1/jobs/${job.id}`);
  await refresh();
  return fresh;
}

/** What a job was asked for, in a line. */
export function title(job) {
  const { text, to, label, labels, texts } = job.options;
  const words = [text, label, ...(Array.isArray(texts) ? texts : []), ...(Array.isArray(labels) ? labels : [])];
  const said = words.filter((word) => typeof word === "string" && word);
  return `${said.join(", ")}${to ? ` → ${to}` : ""}`;
}
