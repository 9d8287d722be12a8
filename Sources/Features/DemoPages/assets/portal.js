// The portal: says whether there is a session, and leads to the applications.
import { Intercom, configuration } from "./intercom.js";
import { byId, make } from "./ui.js";

const settings = await configuration();
const intercom = new Intercom(settings.intercom);

function show() {
  const { loggedIn } = intercom.state;
  const avatar = make("span", { class: loggedIn ? "avatar" : "avatar out", "aria-hidden": "true" }, loggedIn ? "✓" : "?");
  byId("person", HTMLElement).replaceChildren(avatar, loggedIn ? "Signed in" : "Not signed in");
  byId("sign-in", HTMLElement).hidden = loggedIn;
  byId("sign-out", HTMLElement).hidden = !loggedIn;
  byId("out-title", HTMLElement).textContent = loggedIn ? "Sign out" : "Sign in";
  byId("out-text", HTMLElement).textContent = loggedIn ? "Ends the session here and at the identity provider." : "Once, for all applications of the workplace.";
}

byId("mail-tile", HTMLAnchorElement).href = `${settings.mail}/`;
byId("files-tile", HTMLAnchorElement).href = `${settings.files}/`;
byId("sign-in", HTMLButtonElement).addEventListener("click", () => intercom.signIn());
byId("sign-out", HTMLButtonElement).addEventListener("click", () => intercom.signOut());
byId("out-tile", HTMLButtonElement).addEventListener("click", () => (intercom.state.loggedIn ? intercom.signOut() : intercom.signIn()));
intercom.addEventListener("change", show);
await intercom.check();
document.documentElement.dataset.ready = "true";
