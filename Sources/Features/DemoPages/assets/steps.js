// The panel "What Intercom did": each step as Intercom tells it, grouped by the request it belongs to.
import { byId, icon, make } from "./ui.js";

/** @typedef {{ id: number, at: number, kind: string, title: string, subject?: string, correlation?: string, facts: Record<string, string> }} Step */

const drawings = {
  door: "M5 21V4a1 1 0 0 1 1-1h9a1 1 0 0 1 1 1v17M3 21h18M13 12v.1",
  frame: "M4 6h16v12H4zM8 10h8M8 14h5",
  stop: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM6 18 18 6",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21a8 8 0 0 1 16 0",
  swap: "M4 8h14m-4-4 4 4-4 4M20 16H6m4-4-4 4 4 4",
  again: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  shelf: "M4 5h16v5H4zM4 14h16v5H4zM8 7.5v.1M8 16.5v.1",
  check: "M12 3 4 6v6c0 5 4 8 8 9 4-1 8-4 8-9V6zM9 12l2 2 4-4",
  arrow: "M4 12h15m-5-5 5 5-5 5",
  out: "M10 4H5v16h5M9 12h12m-4-4 4 4-4 4",
  alert: "M12 8v5m0 3.5v.1M12 3l10 18H2z",
};

/**
 * How a kind of step looks, which line of the map it is about, and what it means.
 * @type {Record<string, [drawing: keyof typeof drawings, tone: string, edge: string, meaning: string]>}
 */
const kinds = {
  login: ["door", "plum", "provider", "Sent to the identity provider. The password is typed there; neither Intercom nor any application sees it."],
  silentLogin: ["frame", "plum", "provider", "A hidden frame asked whether there is a session already. No page was left, nothing was typed."],
  loginRefused: ["stop", "warn", "provider", "The provider did not sign anyone in. Intercom asks it anew the next time."],
  sessionCreated: ["person", "good", "mail", "The tokens stay in Intercom, sealed. The browser got only an opaque cookie that scripts cannot read."],
  sessionFound: ["person", "accent", "mail", "The cookie names a live session, so Intercom knows who is asking."],
  sessionMissing: ["person", "warn", "mail", "No live session came with this request, so nothing was passed on."],
  sessionEnded: ["out", "warn", "mail", "The session is gone; its cookie is worth nothing any more."],
  tokenRefreshed: ["again", "accent", "provider", "The access token was about to end, so Intercom fetched a new one. Nobody had to sign in again."],
  tokenExchanged: ["swap", "good", "provider", "The user's token was traded at the provider for one that only this audience accepts. A stolen one would open nothing else."],
  tokenFromCache: ["shelf", "accent", "files", "The token for this audience is still good, so the provider was not asked again."],
  policyPermitted: ["check", "good", "mail", "The rules of this route allow this method, from this origin, for this user."],
  forwarded: ["arrow", "good", "files", "Passed on with the right token. Cookies of Intercom do not travel further."],
  refused: ["stop", "bad", "mail", "Stopped here. Nothing that is refused reaches an application."],
  loggedOut: ["out", "plum", "provider", "The session here ended first, then the one at the provider."],
  backChannelLogout: ["out", "plum", "provider", "The provider itself said that the user signed out. Intercom ended the sessions at once, without the browser."],
  providerUnavailable: ["alert", "bad", "provider", "The identity provider does not answer. Sessions are kept; work that needs no new token goes on."],
};

/** The facts that are shown, in this order; method and path stand above the group, the duration beside the title. */
const shown = ["route", "audience", "status", "credential", "upstream", "origin", "scope", "issuer", "reason", "count"];
const maximumGroups = 40;
/** In milliseconds. */
const closely = 400;

/** @param {string} microseconds */
function took(microseconds) {
  const value = Number(microseconds);
  if (!Number.isFinite(value)) return "";
  return value < 1000 ? `${value} µs` : value < 100_000 ? `${(value / 1000).toFixed(1)} ms` : `${Math.round(value / 1000)} ms`;
}

/** @param {Step} step @param {Set<string>} told what the group says already */
function render(step, told) {
  const [drawing, tone, , meaning] = kinds[step.kind] ?? ["arrow", "accent", "mail", ""];
  const title = make("h3", {}, step.title);
  if (step.facts.duration) title.prepend(make("span", { class: "took" }, took(step.facts.duration)));
  const facts = shown.flatMap((key) => {
    const value = step.facts[key];
    if (value === undefined || told.has(`${key} ${value}`)) return [];
    told.add(`${key} ${value}`);
    return [[key, value]];
  });
  const list = make("dl", { class: "facts" }, ...facts.map(([key = "", value = ""]) => make("div", {}, make("dt", {}, key), make("dd", { title: value }, value))));
  const body = make("div", {}, title, make("p", {}, meaning));
  if (facts.length > 0) body.append(list);
  return make("li", { class: `step enter ${tone}` }, make("span", { class: "dot" }, icon(drawings[drawing])), body);
}

/** @param {string} path */
function readable(path) {
  try { return decodeURI(path); } catch { return path; }
}

/** Steps that say what the whole was about; each is the last of its request. @type {Record<string, string>} */
const endings = {
  silentLogin: "Silent sign-in", loginRefused: "Silent sign-in", sessionCreated: "Sign-in", loggedOut: "Sign-out",
  backChannelLogout: "Sign-out told by the provider", forwarded: "", refused: "",
};

/** What a step says about its request, and how much that is worth. @param {Step} step @returns {[text: string, worth: number]} */
function headline(step) {
  const { method, path, route } = step.facts;
  if (method && path) return [`${method} ${readable(path)}`, 3];
  const ending = endings[step.kind];
  if (ending) return [ending, 2];
  if (route) return [method ? `${method}, route ${route}` : `Route ${route}`, 1];
  return [step.kind === "login" ? "Sign-in" : "Request", 0];
}

/** @typedef {{ key: string, element: HTMLElement, steps: HTMLElement, heading: HTMLElement, told: Set<string>, worth: number, last: number, isOpen: boolean }} Group */

export class StepPanel {
  constructor() {
    this.list = byId("step-groups", HTMLOListElement);
    this.live = byId("live", HTMLElement);
    /** @type {Group[]} newest first */
    this.groups = [];
    this.lastID = 0;
    /** @type {Map<string, ReturnType<typeof setTimeout>>} */
    this.lights = new Map();
    byId("clear-steps", HTMLButtonElement).addEventListener("click", () => this.clear());
  }

  /** Listens as long as the page lives; the browser itself reconnects and names the last step it has. */
  start() {
    const source = new EventSource("/steps");
    source.addEventListener("open", () => this.tell("live", true));
    source.addEventListener("error", () => this.tell(source.readyState === EventSource.CLOSED ? "ended" : "reconnecting", false));
    source.addEventListener("restart", () => { this.lastID = 0; });
    source.addEventListener("step", (event) => {
      /** @type {Step} */
      const step = JSON.parse(/** @type {MessageEvent<string>} */ (event).data);
      if (step.id <= this.lastID) return;
      this.lastID = step.id;
      this.add(step);
    });
  }

  /** @param {string} text @param {boolean} isOn */
  tell(text, isOn) {
    if (this.live.textContent !== text) this.live.textContent = text;
    this.live.classList.toggle("on", isOn);
  }

  clear() {
    this.groups = [];
    this.list.replaceChildren();
    byId("no-steps", HTMLElement).hidden = false;
  }

  /** @param {Step} step */
  add(step) {
    byId("no-steps", HTMLElement).hidden = true;
    let group = this.groupOf(step);
    if (!group) {
      group = this.newGroup(step.correlation ?? "", step);
      this.groups.unshift(group);
      this.list.prepend(group.element);
      for (const old of this.groups.splice(maximumGroups)) old.element.remove();
    }
    const [text, worth] = headline(step);
    if (worth > group.worth) {
      group.heading.textContent = text;
      group.worth = worth;
    }
    group.last = step.at;
    group.isOpen &&= !(step.kind in endings);
    group.steps.append(render(step, group.told));
    this.light(step.kind);
  }

  /** The group of the same request; steps that do not name theirs belong together when they follow each other closely. @param {Step} step */
  groupOf(step) {
    if (step.correlation) return this.groups.find(({ key }) => key === step.correlation);
    const [latest] = this.groups;
    return latest && latest.key === "" && latest.isOpen && step.at - latest.last < closely ? latest : undefined;
  }

  /** Shows for a moment which connection of the map a step was about. @param {string} kind */
  light(kind) {
    const [, tone, name] = kinds[kind] ?? ["arrow", "accent", "mail", ""];
    const edge = document.querySelector(`#map [data-edge="${name}"]`);
    if (!edge) return;
    edge.classList.add("lit");
    edge.classList.toggle("bad", tone === "bad");
    clearTimeout(this.lights.get(name));
    this.lights.set(name, setTimeout(() => edge.classList.remove("lit", "bad"), 1600));
  }

  /** @param {string} key @param {Step} step @returns {Group} */
  newGroup(key, step) {
    const [text, worth] = headline(step);
    const heading = make("b", {}, text);
    const time = new Date(step.at);
    const clock = `${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
    const who = step.subject ? [make("span", { class: "muted" }, step.subject)] : [];
    const steps = make("ol", {});
    const header = make("header", {}, heading, ...who, make("time", { datetime: time.toISOString() }, clock));
    return { key, element: make("li", { class: "group" }, header, steps), steps, heading, told: new Set(), worth, last: step.at, isOpen: true };
  }
}
