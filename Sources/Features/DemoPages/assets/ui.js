// Small helpers of the demo's pages. Text always becomes a text node: nothing from a server or a file is read as markup.

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {{ new (): T }} type
 * @returns {T}
 */
export function byId(id, type) {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`#${id} is missing`);
  return element;
}

/**
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * @param {Record<string, string>} attributes
 * @param {(event: MouseEvent) => void} action
 * @param {(Node | string)[]} children
 * @returns {HTMLButtonElement}
 */
export function button(attributes, action, ...children) {
  const element = document.createElement("button");
  element.type = "button";
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  element.addEventListener("click", action);
  return element;
}

/** @param {string} path the drawing, 24 units wide @returns {SVGSVGElement} */
export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** @param {Date} date */
export function day(date) {
  if (Number.isNaN(date.getTime())) return "";
  const isToday = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return isToday ? `today, ${time}` : date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

/** The coloured sign of a file. @param {string} name @param {boolean} isFolder @returns {HTMLElement} */
export function badge(name, isFolder = false) {
  if (isFolder) return make("span", { class: "badge folder", "aria-hidden": "true" }, icon("M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z"));
  const suffix = (/\.([a-z0-9]{1,4})$/i.exec(name)?.[1] ?? "file").toLowerCase();
  const kind = suffix === "pdf" ? "pdf" : ["csv", "xlsx", "ods"].includes(suffix) ? "sheet" : isPicture(name) ? "image" : "text";
  return make("span", { class: `badge ${kind}`, "aria-hidden": "true" }, suffix.toUpperCase());
}

/** @param {string} name */
export function isPicture(name) { return /\.(svg|png|jpe?g|gif|webp)$/i.test(name); }

/** Tells something for a few seconds. @param {string} text @param {boolean} isProblem */
export function toast(text, isProblem = false) {
  const area = byId("toasts", HTMLElement);
  const sign = isProblem ? "M12 8v5m0 3.5v.1M12 3l10 18H2z" : "m5 12 5 5 9-10";
  const note = make("div", { class: "toast enter" }, icon(sign), make("span", {}, text));
  area.append(note);
  setTimeout(() => note.remove(), isProblem ? 9000 : 5000);
}

/** What a failed request means for a person. @param {unknown} error */
export function explain(error) {
  if (error instanceof TypeError) return "Intercom cannot be reached. Is the demo still running?";
  return error instanceof Error ? error.message : "Something went wrong.";
}
