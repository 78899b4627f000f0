"use strict";

const at = (id) => document.getElementById(id);
const sides = ["left", "right"];
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
let study = null; // what the server says of the study
let state = null; // who answers, and what comes next
let open = false; // whether an answer may be given now
let round = 0; // of showings; an older one that is still waiting stops

async function ask(path, body) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let reply;
  try {
    reply = await fetch(path, body === undefined ? {} : post);
  } catch {
    throw new Error("The study's program does not answer. Is it still running?");
  }
  const value = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(value.error || `The study's program answered with ${reply.status}.`);
  return value;
}

function show(id) {
  for (const part of ["start", "ask", "end", "trouble"]) at(part).hidden = part !== id;
}

/** Do something; where it fails, say so and offer to do it again: nothing is skipped. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    at("what").textContent = error.message;
    at("trouble").hidden = false;
    at("again").onclick = () => { at("trouble").hidden = true; attempt(work); };
    at("again").focus();
  }
}

async function begin() {
  study = await ask("/api/study");
  at("seconds").textContent = study.seconds;
  at("total").textContent = study.questions;
  const minutes = Math.ceil(study.questions * (study.seconds + 2) / 60);
  at("minutes").textContent = minutes === 1 ? "one minute" : `${minutes} minutes`;
  at("between").textContent = study.middle ? `, with the ${study.middle} between them,` : "";
  const rater = sessionStorage.getItem("rater") || localStorage.getItem("rater");
  if (rater) state = await ask(`/api/raters/${rater}`).catch((error) => (error.message.includes("number") ? null : Promise.reject(error)));
  if (state) await next(); else welcome();
}

function welcome() {
  state = null;
  localStorage.removeItem("rater");
  sessionStorage.removeItem("rater");
  at("progress").hidden = true;
  at("count").textContent = "";
  at("name").value = "";
  show("start");
  at("name").focus();
}

function keep(fresh) {
  state = fresh;
  localStorage.setItem("rater", state.rater);
  sessionStorage.setItem("rater", state.rater);
}

async function picture(place) {
  const image = new Image();
  image.src = `/api/raters/${state.rater}/questions/${state.question.number}/${place}.png`;
  image.alt = place === "middle" ? `Middle: the ${study.middle}` : `${place === "left" ? "Left" : "Right"} image`;
  await image.decode().catch(() => { throw new Error("An image could not be loaded."); });
  return image;
}

async function next() {
  open = false;
  for (const side of sides) at(`choose-${side}`).disabled = true;
  at("progress").hidden = false;
  at("progress").max = state.of;
  at("progress").value = state.answered;
  if (!state.question) {
    at("count").textContent = `${state.answered} of ${state.of}`;
    at("who").textContent = state.name;
    show("end");
    at("end").querySelector("h1").focus();
    return;
  }
  at("count").textContent = `Question ${state.answered + 1} of ${state.of}`;
  at("question").textContent = state.question.text;
  at("say").textContent = "Look at the images.";
  const places = study.middle ? ["left", "middle", "right"] : sides;
  at("images").classList.toggle("three", places.length === 3);
  at("middle").hidden = places.length < 3;
  show("ask");
  const images = await Promise.all(places.map(picture));
  await look(places, images);
}

/** Show the images for the seconds of the study, then take them away and let the person choose. */
async function look(places, images) {
  const mine = ++round;
  if (document.hidden) await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
  if (mine !== round) return;
  await ask("/api/showings", { rater: state.rater, question: state.question.number });
  for (const [k, place] of places.entries()) {
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.style.aspectRatio = `${images[k].naturalWidth} / ${images[k].naturalHeight}`;
    frame.append(images[k]);
    at(place).querySelector(".frame")?.remove();
    at(place).prepend(frame);
    images[k].classList.toggle("enlarged", images[k].clientWidth > images[k].naturalWidth);
  }
  at("images").classList.remove("gone");
  at("timer").firstElementChild.style.animationDuration = `${study.seconds}s`;
  at("timer").classList.add("runs");
  await wait(study.seconds);
  if (mine !== round) return;
  at("images").classList.add("gone");
  at("timer").classList.remove("runs");
  for (const image of images) image.remove();
  at("say").textContent = "Left or right?";
  for (const side of sides) at(`choose-${side}`).disabled = false;
  open = true;
}

function choose(side) {
  if (!open) return;
  open = false;
  const answer = { rater: state.rater, question: state.question.number, side };
  attempt(async () => {
    keep(await ask("/api/answers", answer));
    await attempt(next);
  });
}

at("join").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    keep(await ask("/api/raters", { name: at("name").value }));
    await attempt(next);
  });
});
for (const side of sides) at(`choose-${side}`).addEventListener("click", () => choose(side));
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") choose("left");
  if (event.key === "ArrowRight") choose("right");
});
at("other").addEventListener("click", welcome);
attempt(begin);
