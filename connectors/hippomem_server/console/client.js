// What the console asks the server for, as any other client does.

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export class Client {
  constructor(token) {
    this.token = token;
    this.namespace = "default";
  }

  // What the token is for.
  bearer() {
    return this.#ask("GET", "/v1");
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
    return `/v1/${encodeURIComponent(this.namespace)}/${path}${asked && `?${asked}`}`;
  }

  async #ask(method, path, body) {
    const headers = { authorization: `Bearer ${this.token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch {
      throw new Problem(0, "the server cannot be reached");
    }
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Problem(answer.status, told.detail ?? answer.statusText);
    return told;
  }
}
