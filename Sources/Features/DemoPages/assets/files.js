// The user's files, by WebDAV through Intercom's route /fs. The browser sends its cookie; Intercom adds the token.

/** @typedef {{ name: string, isFolder: boolean, size: number, changed: Date, type: string }} Entry */

export class Files {
  /** @param {import("./intercom.js").Intercom} intercom */
  constructor(intercom) { this.intercom = intercom; }

  /** @param {string[]} path */
  address(path) { return `${this.intercom.base}/fs/${path.map(encodeURIComponent).join("/")}`; }

  /**
   * @param {string} method
   * @param {string} address
   * @param {RequestInit} [options]
   */
  async send(method, address, options = {}) {
    const headers = new Headers(options.headers);
    if (!["GET", "PROPFIND"].includes(method)) headers.set("X-CSRF-Token", this.intercom.state.csrftoken);
    const answer = await fetch(address, { ...options, method, headers, credentials: "include", cache: "no-store" });
    if (answer.ok) return answer;
    if (answer.status === 401) this.intercom.lost();
    let text = `${answer.status} ${answer.statusText}`;
    try {
      const problem = await answer.json();
      if (typeof problem.detail === "string") text = problem.detail;
    } catch { /* no problem document: the status line has to do */ }
    throw new Error(text);
  }

  /** What is in the folder, and the name of the root. @param {string[]} path @returns {Promise<{ title: string, entries: Entry[] }>} */
  async list(path) {
    const address = path.length > 0 ? `${this.address(path)}/` : this.address([]);
    const answer = await this.send("PROPFIND", address, {
      headers: { Depth: "1", "Content-Type": "application/xml" },
      body: '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><displayname/><resourcetype/><getcontentlength/><getlastmodified/><getcontenttype/></prop></propfind>',
    });
    const page = new DOMParser().parseFromString(await answer.text(), "application/xml");
    if (page.querySelector("parsererror")) throw new Error("The file store's answer cannot be read.");
    const responses = [...page.getElementsByTagNameNS("DAV:", "response")];
    const own = Math.min(...responses.map(depth));
    let title = "";
    /** @type {Entry[]} */
    const entries = [];
    for (const response of responses) {
      /** @param {string} name */
      const text = (name) => response.getElementsByTagNameNS("DAV:", name)[0]?.textContent ?? "";
      // The folder itself is the one with the shortest path; servers differ in the prefix they show.
      const parts = segments(text("href"));
      const name = parts.at(-1) ?? "";
      if (parts.length === own) {
        title = text("displayname");
        continue;
      }
      const isFolder = response.getElementsByTagNameNS("DAV:", "collection").length > 0;
      const type = text("getcontenttype");
      entries.push({ name, isFolder, size: Number(text("getcontentlength")) || 0, changed: new Date(text("getlastmodified")), type });
    }
    entries.sort((a, b) => Number(b.isFolder) - Number(a.isFolder) || a.name.localeCompare(b.name, "en", { numeric: true }));
    return { title, entries };
  }

  /**
   * The file's bytes, told as they come.
   * @param {string[]} path
   * @param {(received: number) => void} progress
   * @returns {Promise<Blob>}
   */
  async download(path, progress) {
    const answer = await this.send("GET", this.address(path));
    /** @type {BlobPart[]} */
    const parts = [];
    let received = 0;
    const reader = answer.body?.getReader();
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      received += value.byteLength;
      progress(received);
    }
    return new Blob(parts, { type: answer.headers.get("Content-Type") ?? "application/octet-stream" });
  }

  /** Writes a new file; one of that name is not replaced. @param {string[]} path @param {Blob} content */
  async create(path, content) { await this.send("PUT", this.address(path), { body: content, headers: { "If-None-Match": "*" } }); }

  /** @param {string[]} path */
  async makeFolder(path) { await this.send("MKCOL", `${this.address(path)}/`); }
}

/** @param {string} href @returns {string[]} */
function segments(href) {
  return new URL(href, "http://store.invalid/").pathname.split("/").filter((part) => part !== "").map(decodeURIComponent);
}

/** @param {Element} response */
function depth(response) { return segments(response.getElementsByTagNameNS("DAV:", "href")[0]?.textContent ?? "").length; }
