// What the console asks the server for, as any other client does.

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// What comes too late: nobody waits for the answer any more.
export class Left extends Error {}

export class Client {
  #isLeft = false;

  constructor(token, namespace = "default") {
    this.token = token;
    this.namespace = namespace;
  }

  // Whoever signs in next, or looks at another namespace, is shown no answers to what was asked before.
  leave() {
    this.#isLeft = true;
  }

  // What the token is for.
  bearer() {
    return this.#ask("GET", "v1");
  }

  get(path, query = {}) {
    return this.#ask("GET", this.#at(path, query));
  }

  post(path, body) {
    return this.#ask("POST", this.#at(path), body);
  }

  remove(path) {
    return this.#ask("DELETE", this.#at(path));
  }

  #at(path, query = {}) {
    const asked = new URLSearchParams(query).toString();
    return `v1/${encodeURIComponent(this.namespace)}/${path}${asked && `?${asked}`}`;
  }

  // The path is below the page's own, which a proxy may have elsewhere than at "/".
  async #ask(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const sent = fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const answer = await sent.catch(() => null);
    const told = await answer?.json().catch(() => null);
    if (this.#isLeft) throw new Left();
    if (!answer) throw new Problem(0, "the server cannot be reached");
    // Else it broke off, or comes from what stands between, as a proxy whose server is gone.
    if (!answer.ok || !told) throw new Problem(answer.status, told?.detail ?? `no whole answer came (${answer.status})`);
    return told;
  }
}
