import { ClientState } from './client-state.js';

/** State of one process: its clients and its servers, as its events report them. */
export class ProcessState {
  /** The shown clients of the process, by key. */
  clients = new Map();
  /** Number of clients of the process. */
  total = 0;
  servers = [];
  /** Host, pid, release, start time, and unique id; `undefined` before the first full state. */
  process;
  /** Time of the state by the clock of the process, in milliseconds since 1970. */
  at = 0;
  /** Time by which the clock of the process is ahead of the browser's clock, in milliseconds. */
  skew = 0;
  #fields = [];

  /** Applies the data of an event: the full state ('whole'), changes ('change'), or a snapshot ('snapshot'). */
  take(event, data) {
    const at = typeof data.at === 'string' ? Date.parse(data.at) : data.at;
    this.at = at;
    this.skew = at - Date.now();
    // Missing in earlier releases.
    this.servers = data.servers ?? [];
    if (event === 'snapshot') {
      for (const properties of data.clients) this.clients.get(properties.name)?.take(properties, at);
      return;
    }
    this.total = data.total;
    if (event === 'whole') return this.#takeWhole(data, at);
    for (const key of data.gone) this.clients.delete(key);
    const updated = new Set();
    for (const { key, ...properties } of data.clients) {
      this.#client(key).take(properties, at);
      updated.add(key);
    }
    // Unchanged counters are sampled, too.
    for (const [key, client] of this.clients) if (!updated.has(key)) client.take({}, at);
  }

  #takeWhole(data, at) {
    this.process = data.process;
    this.#fields = data.sampleFields;
    const keys = new Set(data.clients.map(({ key }) => key));
    for (const key of this.clients.keys()) if (!keys.has(key)) this.clients.delete(key);
    for (const { key, ...properties } of data.clients) this.#client(key).takeWhole(properties);
    for (const [key, rows] of data.samples) this.#client(key).takeSamples(rows);
    for (const client of this.clients.values()) client.take({}, at);
  }

  #client(key) {
    let client = this.clients.get(key);
    if (client === undefined) this.clients.set(key, (client = new ClientState(key, this.#fields)));
    return client;
  }
}
