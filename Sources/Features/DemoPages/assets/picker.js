// The dialog that shows the user's files: to attach some of them, or to choose where an attachment is saved.
import { badge, button, byId, day, explain, make, size } from "./ui.js";

/** @typedef {import("./files.js").Entry} Entry */
/** @typedef {{ path: string[], entry: Entry }} Picked */

export class Picker {
  /** @param {import("./files.js").Files} files */
  constructor(files) {
    this.files = files;
    this.dialog = byId("picker", HTMLDialogElement);
    this.rows = byId("rows", HTMLElement);
    this.note = byId("picker-note", HTMLElement);
    this.confirm = byId("pick", HTMLButtonElement);
    this.name = byId("save-name", HTMLInputElement);
    /** @type {string[]} */
    this.path = [];
    /** @type {Map<string, Picked>} */
    this.chosen = new Map();
    /** @type {((title: string) => void) | undefined} */
    this.onOwner = undefined;
    /** @type {"attach" | "save"} */
    this.mode = "attach";
    this.visit = 0;
    /** @type {(result: { picked: Picked[], path: string[], name: string } | undefined) => void} */
    this.settle = () => {};
    this.confirm.addEventListener("click", () => this.finish());
    this.name.addEventListener("input", () => this.count());
    this.name.addEventListener("keydown", (event) => { if (event.key === "Enter" && !this.confirm.disabled) this.finish(); });
    byId("reload", HTMLButtonElement).addEventListener("click", () => this.open(this.path));
    byId("new-folder", HTMLButtonElement).addEventListener("click", () => this.newFolder());
    this.dialog.addEventListener("close", () => this.settle(undefined));
  }

  /** @returns {Promise<Picked[]>} empty when closed without a choice */
  async attach() { return (await this.show("attach", "Attach from Files", "Attach", ""))?.picked ?? []; }

  /** @param {string} name @returns {Promise<string[] | undefined>} where to save */
  async save(name) {
    const result = await this.show("save", "Save to Files", "Save here", name);
    return result && [...result.path, result.name];
  }

  /** @param {"attach" | "save"} mode @param {string} title @param {string} action @param {string} name */
  show(mode, title, action, name) {
    this.mode = mode;
    this.chosen.clear();
    byId("picker-title", HTMLElement).textContent = title;
    this.confirm.textContent = action;
    this.name.value = name;
    byId("save-name-area", HTMLElement).hidden = mode !== "save";
    byId("new-folder", HTMLElement).hidden = mode !== "save";
    this.dialog.showModal();
    (mode === "save" ? this.name : byId("picker-body", HTMLElement)).focus();
    void this.open(mode === "save" ? this.path : []);
    return new Promise((/** @type {typeof this.settle} */ resolve) => { this.settle = resolve; });
  }

  finish() {
    this.settle({ picked: [...this.chosen.values()], path: this.path, name: this.name.value.trim() });
    this.dialog.close();
  }

  /** @param {string[]} path */
  async open(path) {
    const visit = ++this.visit;
    this.path = path;
    this.crumbs();
    this.count();
    this.rows.replaceChildren();
    this.note.textContent = "Loading…";
    try {
      const { title, entries } = await this.files.list(path);
      if (visit !== this.visit) return;
      if (path.length === 0 && title) this.onOwner?.(title);
      this.note.textContent = entries.length === 0 ? "This folder is empty." : "";
      this.rows.replaceChildren(...entries.map((entry) => make("li", {}, entry.isFolder ? this.folderRow(entry) : this.fileRow(entry))));
      const first = this.rows.querySelector("button, input:enabled");
      if (document.activeElement === byId("picker-body", HTMLElement) && first instanceof HTMLElement) first.focus();
    } catch (error) {
      if (visit === this.visit) this.note.textContent = explain(error);
    }
  }

  /** @param {Entry} entry */
  folderRow(entry) {
    return button({ class: "row" }, () => {
      void this.open([...this.path, entry.name]);
      byId("picker-body", HTMLElement).focus();
    }, make("span", { class: "what" }, make("span", { class: "gap" }), badge(entry.name, true), make("span", {}, entry.name)),
    make("span", { class: "number" }, "Folder"), make("span", { class: "number" }, day(entry.changed)));
  }

  /** @param {Entry} entry */
  fileRow(entry) {
    const path = [...this.path, entry.name];
    const key = path.join("/");
    const box = /** @type {HTMLInputElement} */ (make("input", { type: "checkbox" }));
    box.checked = this.chosen.has(key);
    box.disabled = this.mode === "save";
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.set(key, { path, entry });
      else this.chosen.delete(key);
      this.count();
    });
    const sign = this.mode === "save" ? make("span", { class: "gap" }) : box;
    return make(this.mode === "save" ? "div" : "label", { class: this.mode === "save" ? "row off" : "row" },
      make("span", { class: "what" }, sign, badge(entry.name), make("span", {}, entry.name)),
      make("span", { class: "number" }, size(entry.size)), make("span", { class: "number" }, day(entry.changed)));
  }

  crumbs() {
    const all = ["My files", ...this.path];
    byId("crumbs", HTMLElement).replaceChildren(...all.map((name, index) => {
      if (index === all.length - 1) return make("li", {}, make("span", { "aria-current": "location" }, name));
      return make("li", {}, button({}, () => void this.open(this.path.slice(0, index)), name));
    }));
  }

  count() {
    if (this.mode === "save") {
      this.confirm.disabled = this.name.value.trim() === "" || this.name.value.includes("/");
      byId("picked", HTMLElement).textContent = "";
      return;
    }
    const bytes = [...this.chosen.values()].reduce((sum, { entry }) => sum + entry.size, 0);
    const number = this.chosen.size;
    this.confirm.disabled = number === 0;
    byId("picked", HTMLElement).textContent = number === 0 ? "Nothing chosen" : `${number} ${number === 1 ? "file" : "files"}, ${size(bytes)}`;
  }

  newFolder() {
    const name = /** @type {HTMLInputElement} */ (make("input", { type: "text", "aria-label": "Name of the new folder", placeholder: "Name of the new folder" }));
    const create = async () => {
      const text = name.value.trim();
      if (text === "" || text.includes("/")) return;
      try {
        await this.files.makeFolder([...this.path, text]);
        await this.open([...this.path, text]);
      } catch (error) {
        this.note.textContent = explain(error);
      }
    };
    name.addEventListener("keydown", (event) => { if (event.key === "Enter") void create(); });
    this.rows.querySelector(".new")?.remove();
    this.rows.prepend(make("li", { class: "save-name new" }, badge("", true), name, button({ class: "button small" }, create, "Create")));
    name.focus();
  }
}
