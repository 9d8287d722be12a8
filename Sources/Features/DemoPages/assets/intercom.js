// Signing in through Intercom: a hidden frame asks whether there is a session; only Intercom's own origin is believed.

/**
 * @typedef {{ intercom: string, portal: string, mail: string, files: string }} Configuration addresses without a final slash
 * @typedef {{ loggedIn: boolean, csrftoken: string, reason: string }} SignInState
 */

/** @returns {Promise<Configuration>} */
export async function configuration() {
  const answer = await fetch("/config.json");
  if (!answer.ok) throw new Error("The page's own server does not answer.");
  return answer.json();
}

export class Intercom extends EventTarget {
  /** @param {string} base */
  constructor(base) {
    super();
    this.base = base;
    /** @type {SignInState} */
    this.state = { loggedIn: false, csrftoken: "", reason: "unknown" };
    /** @type {Promise<SignInState> | undefined} */
    this.asking = undefined;
  }

  /** Asks anew; several callers at once share one question. @returns {Promise<SignInState>} */
  check() {
    this.asking ??= this.ask().then((state) => {
      this.asking = undefined;
      this.become(state);
      return state;
    });
    return this.asking;
  }

  /** @returns {Promise<SignInState>} */
  ask() {
    return new Promise((resolve) => {
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.title = "Silent sign-in";
      frame.src = `${this.base}/silent`;
      /** @param {SignInState} state */
      const finish = (state) => {
        removeEventListener("message", hear);
        clearTimeout(timer);
        frame.remove();
        resolve(state);
      };
      /** @param {MessageEvent} event */
      const hear = (event) => {
        if (event.origin !== this.base || event.source !== frame.contentWindow) return;
        const { loggedIn, csrftoken, reason } = event.data ?? {};
        finish({ loggedIn: loggedIn === true, csrftoken: String(csrftoken ?? ""), reason: String(reason ?? "") });
      };
      const timer = setTimeout(() => finish({ loggedIn: false, csrftoken: "", reason: "timeout" }), 12000);
      addEventListener("message", hear);
      document.body.append(frame);
    });
  }

  /** A request was answered with 401: the session is over. */
  lost() { this.become({ loggedIn: false, csrftoken: "", reason: "session_ended" }); }

  /** @param {SignInState} state */
  become(state) {
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  signIn() { location.assign(`${this.base}/login?returnTo=${encodeURIComponent(location.href)}`); }
  signOut() { location.assign(`${this.base}/logout?returnTo=${encodeURIComponent(location.href)}`); }
}

/** @param {string} reason */
export function whySignedOut(reason) {
  switch (reason) {
    case "session_ended": return "Your session is over. What you wrote is kept.";
    case "timeout": return "Intercom did not answer the question whether you are.";
    case "temporarily_unavailable": case "server_error": return "The identity provider cannot be reached at the moment.";
    default: return "Sign in once for all applications of the workplace.";
  }
}
