// The mail window: writes a message, attaches files of the file store, saves attachments there.
import { Files } from "./files.js";
import { Intercom, configuration, whySignedOut } from "./intercom.js";
import { Picker } from "./picker.js";
import { StepPanel } from "./steps.js";
import { badge, button, byId, explain, icon, isPicture, make, size, toast } from "./ui.js";

/** @typedef {{ name: string, size: number, content?: Blob, source: string, received?: number, problem?: string }} Attachment */
/** @typedef {{ from: string, to: string, subject: string, body: string, attachments: Attachment[] }} Message */

const draftKey = "draft";
const cross = "M6 6l12 12M18 6 6 18";
const folder = "M3 7a2 2 0 0 1 2-2h4l2 2h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2zM12 10v6m-3-3 3 3 3-3";

/** @param {string} name @param {string} type @param {string} text @returns {Attachment} */
function enclosed(name, type, text) {
  const content = new Blob([text], { type });
  return { name, size: content.size, content, source: "in this message" };
}

/** @type {Message[]} */
const inbox = [
  {
    from: "Facilities <facilities@workplace.example>", to: "everyone@workplace.example", subject: "Seating plan for Thursday",
    body: "Hello everyone,\n\nthe seating plan for Thursday is attached. Save it to your files if you would like to keep it.\n\nFacilities",
    attachments: [
      enclosed("Sitzplan Großes Atelier.svg", "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 160" width="480" height="320"><rect width="240" height="160" fill="#f5f7fb"/><rect x="60" y="50" width="120" height="60" rx="10" fill="#cdb58f"/><g fill="#2a52c9">${[75, 105, 135, 165].map((x) => `<circle cx="${x}" cy="36" r="9"/><circle cx="${x}" cy="124" r="9"/>`).join("")}</g></svg>\n`),
      enclosed("Menu.txt", "text/plain", "Thursday\n\nTomato soup\nVegetable lasagne\nApple crumble\n"),
    ],
  },
  {
    from: "The board <board@workplace.example>", to: "you", subject: "Report for the third quarter?",
    body: "Good morning,\n\ncould you send us the quarterly report? It should be in your files.\n\nThank you", attachments: [],
  },
];
/** @type {Message[]} */
const sent = [];
/** @type {Attachment[]} */
let attachments = [];

const form = byId("message", HTMLFormElement);
const to = byId("to", HTMLInputElement);
const subject = byId("subject", HTMLInputElement);
const body = byId("body", HTMLTextAreaElement);

const settings = await configuration();
const intercom = new Intercom(settings.intercom);
const picker = new Picker(new Files(intercom));
let owner = "";

// MARK: who is here

function showPerson() {
  const { loggedIn, reason } = intercom.state;
  const avatar = make("span", { class: loggedIn ? "avatar" : "avatar out", "aria-hidden": "true" }, loggedIn ? (owner[0] ?? "✓") : "?");
  const text = make("span", { id: "person-text" }, loggedIn ? "Signed in" : "Not signed in");
  if (loggedIn && owner) text.replaceChildren(make("span", { class: "long" }, "Signed in as "), owner);
  byId("person", HTMLElement).replaceChildren(avatar, text);
  byId("sign-in", HTMLElement).hidden = loggedIn;
  byId("sign-out", HTMLElement).hidden = !loggedIn;
  byId("signed-out", HTMLElement).hidden = loggedIn;
  byId("signed-out-text", HTMLElement).textContent = whySignedOut(reason);
}

picker.onOwner = (name) => {
  owner = name;
  showPerson();
};

/** True when there is a session; else the way to one is shown. */
async function requireSession() {
  if (intercom.state.loggedIn || (await intercom.check()).loggedIn) return true;
  toast("Please sign in first.", true);
  byId("banner-sign-in", HTMLButtonElement).focus();
  return false;
}

// MARK: attachments

/** @param {Attachment} attachment @returns {Node} */
function thumbnail(attachment) {
  if (!attachment.content || !isPicture(attachment.name)) return badge(attachment.name);
  const address = URL.createObjectURL(attachment.content);
  const image = make("img", { class: "thumb", src: address, alt: "" });
  image.addEventListener("load", () => URL.revokeObjectURL(address), { once: true });
  image.addEventListener("error", () => image.replaceWith(badge(attachment.name)), { once: true });
  return image;
}

/** @param {Attachment} attachment @param {(() => void) | undefined} remove */
function attachmentItem(attachment, remove) {
  const item = make("li", { class: "file" }, thumbnail(attachment), make("span", { class: "name", title: attachment.name }, attachment.name));
  const tools = make("span", { class: "tools" });
  if (attachment.content) {
    const { content } = attachment;
    item.append(make("span", { class: "about" }, make("span", {}, size(content.size)), make("span", {}, attachment.source)));
    tools.append(button({ class: "button quiet icon-only", "aria-label": `Save ${attachment.name} to Files`, title: "Save to Files" }, () => void save(attachment, content), icon(folder)));
  } else if (attachment.problem) {
    item.append(make("span", { class: "about" }, attachment.problem));
  } else {
    const bar = make("progress", { max: String(Math.max(1, attachment.size)), value: String(attachment.received ?? 0), "aria-label": `Fetching ${attachment.name}` });
    item.append(bar);
  }
  if (remove) tools.append(button({ class: "button quiet icon-only", "aria-label": `Remove ${attachment.name}`, title: "Remove" }, remove, icon(cross)));
  item.append(tools);
  return item;
}

function showAttachments() {
  byId("attachments-area", HTMLElement).hidden = attachments.length === 0;
  const total = attachments.reduce((sum, { content }) => sum + (content?.size ?? 0), 0);
  byId("attachments-title", HTMLElement).textContent = `${attachments.length} ${attachments.length === 1 ? "attachment" : "attachments"}, ${size(total)}`;
  byId("attachments", HTMLElement).replaceChildren(...attachments.map((attachment) => attachmentItem(attachment, () => {
    attachments = attachments.filter((other) => other !== attachment);
    showAttachments();
    byId("attach", HTMLButtonElement).focus();
  })));
}

async function attachFromFiles() {
  if (!(await requireSession())) return;
  const picked = await picker.attach();
  await Promise.all(picked.map(async ({ path, entry }) => {
    /** @type {Attachment} */
    const attachment = { name: entry.name, size: entry.size, source: "from Files" };
    attachments.push(attachment);
    showAttachments();
    try {
      attachment.content = await picker.files.download(path, (received) => { attachment.received = received; });
    } catch (error) {
      attachment.problem = explain(error);
      toast(`${entry.name}: ${attachment.problem}`, true);
    }
    showAttachments();
  }));
}

/** @param {Attachment} attachment @param {Blob} content */
async function save(attachment, content) {
  if (!(await requireSession())) return;
  const path = await picker.save(attachment.name);
  if (!path) return;
  try {
    await picker.files.create(path, content);
    toast(`Saved to Files as ${path.join(" / ")}`);
  } catch (error) {
    toast(`Not saved: ${explain(error)}`, true);
  }
}

// MARK: messages

/** @param {Message | undefined} message nil shows the message that is being written */
function show(message) {
  byId("compose", HTMLElement).hidden = message !== undefined;
  byId("reader", HTMLElement).hidden = message === undefined;
  showLists(message);
  if (!message) return;
  byId("reader-title", HTMLElement).textContent = message.subject;
  byId("reader-from", HTMLElement).textContent = `From ${message.from} to ${message.to}`;
  byId("reader-body", HTMLElement).textContent = message.body;
  byId("reader-attachments-area", HTMLElement).hidden = message.attachments.length === 0;
  byId("reader-attachments", HTMLElement).replaceChildren(...message.attachments.map((attachment) => attachmentItem(attachment, undefined)));
  byId("main", HTMLElement).focus({ preventScroll: true });
}

/** @param {Message | undefined} current */
function showLists(current) {
  for (const [id, messages] of /** @type {[string, Message[]][]} */ ([["inbox", inbox], ["sent", sent]])) {
    byId(id, HTMLElement).replaceChildren(...messages.map((message) => {
      const who = id === "sent" ? `To ${message.to}` : message.from.replace(/ <.*/, "");
      return make("li", {}, button(message === current ? { "aria-current": "true" } : {}, () => show(message), make("b", {}, message.subject || "No subject"), make("span", {}, who)));
    }));
  }
  byId("sent-empty", HTMLElement).hidden = sent.length > 0;
}

function keepDraft() {
  sessionStorage.setItem(draftKey, JSON.stringify({ to: to.value, subject: subject.value, body: body.value }));
  byId("draft-state", HTMLElement).textContent = "Draft kept in this tab";
}

function restoreDraft() {
  try {
    const draft = JSON.parse(sessionStorage.getItem(draftKey) ?? "null");
    if (!draft) return;
    [to.value, subject.value, body.value] = [String(draft.to), String(draft.subject), String(draft.body)];
  } catch { sessionStorage.removeItem(draftKey); }
}

/** @param {SubmitEvent} event */
function send(event) {
  event.preventDefault();
  if (to.value.trim() === "") {
    toast("Whom is it for?", true);
    to.focus();
    return;
  }
  if (attachments.some(({ content, problem }) => !content && !problem)) {
    toast("An attachment is still on its way.", true);
    return;
  }
  sent.unshift({ from: owner || "you", to: to.value, subject: subject.value, body: body.value, attachments: attachments.filter(({ content }) => content) });
  attachments = [];
  [to.value, subject.value, body.value] = ["", "", ""];
  sessionStorage.removeItem(draftKey);
  showAttachments();
  show(sent[0]);
  toast("Sent. (A demo: the message stays in this tab.)");
}

form.addEventListener("submit", send);
form.addEventListener("input", keepDraft);
byId("attach", HTMLButtonElement).addEventListener("click", () => void attachFromFiles());
const local = byId("local-files", HTMLInputElement);
byId("attach-local", HTMLButtonElement).addEventListener("click", () => local.click());
local.addEventListener("change", () => {
  for (const file of local.files ?? []) attachments.push({ name: file.name, size: file.size, content: file, source: "from this device" });
  local.value = "";
  showAttachments();
});
byId("compose-button", HTMLButtonElement).addEventListener("click", () => {
  show(undefined);
  to.focus();
});
byId("reader-close", HTMLButtonElement).addEventListener("click", () => show(undefined));
for (const id of ["sign-in", "banner-sign-in"]) byId(id, HTMLButtonElement).addEventListener("click", () => intercom.signIn());
byId("sign-out", HTMLButtonElement).addEventListener("click", () => intercom.signOut());
byId("portal-link", HTMLAnchorElement).href = `${settings.portal}/`;
intercom.addEventListener("change", showPerson);

restoreDraft();
showLists(undefined);
new StepPanel().start();
await intercom.check();
// The session may end elsewhere: the question is cheap, so it is asked again when the person comes back to this tab.
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") void intercom.check(); });
document.documentElement.dataset.ready = "true";
