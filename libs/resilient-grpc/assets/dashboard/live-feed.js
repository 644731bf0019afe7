/** Time without an event after which the link counts as silent, in milliseconds; one event arrives per second. */
const SILENT_AFTER_MS = 3_500;
const RETRY_DELAY_MS = 2_000;

/**
 * Receives events while the page is open: the events of the process that serves the page, of `process` if it is given, or of all processes
 * if `path` is 'fleet'. `onData(event, ...data)` receives the data of each event. `onLink(link)` receives the link state: 'connecting',
 * 'live', 'silent', 'unreachable', 'ending', 'forbidden', 'refused', or, for another process, 'unlisted'. Some states have additional
 * text.
 */
export class LiveFeed {
  #base;
  #onData;
  #onLink;
  #source;
  #retryTimer;
  #silenceTimer;
  #link;
  #query = '';
  #path;
  #process;

  constructor(base, { onData, onLink, path = 'events', process }) {
    this.#base = base;
    this.#path = path;
    this.#process = process;
    this.#onData = onData;
    this.#onLink = onLink;
  }

  /** Starts receiving events, with the details of `client` if given. */
  listen(client) {
    const query = new URLSearchParams();
    if (this.#process !== undefined) query.set('process', this.#process);
    if (client !== undefined) query.set('client', client);
    this.#query = query.size === 0 ? '' : `?${query}`;
    this.#setLink(this.#link?.state === 'live' ? this.#link : { state: 'connecting' });
    this.#open();
  }

  #open() {
    this.#stop();
    const source = new EventSource(new URL(`${this.#path}${this.#query}`, this.#base));
    this.#source = source;
    for (const event of ['whole', 'change', 'processes', 'process'])
      source.addEventListener(event, ({ data }) => {
        if (source !== this.#source) return;
        const parsed = data.split('\n').map((line) => JSON.parse(line));
        // On the page of all processes, only the event 'end' reports the shutdown of the process that serves the page.
        const isEnding = this.#path === 'events' && !parsed[0].accepting;
        this.#received({ state: isEnding ? 'ending' : 'live' });
        this.#onData(event, ...parsed);
      });
    // State of the connection between the server and another process.
    source.addEventListener('link', ({ data }) => {
      if (source !== this.#source) return;
      const link = JSON.parse(data);
      if (this.#path === 'fleet') return this.#onData('link', link);
      clearTimeout(this.#silenceTimer);
      if (link.state !== 'live') this.#setLink(link);
    });
    source.addEventListener('end', () => this.#serverEnded());
    source.addEventListener('error', () => {
      // While CONNECTING, the browser retries automatically. The browser does not expose responses other than event streams.
      if (source !== this.#source) return;
      clearTimeout(this.#silenceTimer);
      if (source.readyState === EventSource.CLOSED) void this.#fetchSnapshot('later');
      else this.#setLink({ state: 'unreachable' });
    });
  }

  #received(link) {
    this.#setLink(link);
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#setLink({ state: 'silent' }), SILENT_AFTER_MS);
  }

  /** Handles the shutdown of the application. Its event streams have ended, but its servers still respond for a short time. */
  #serverEnded() {
    this.#stop();
    this.#setLink({ state: 'ending' });
    this.#retryTimer = setTimeout(() => void this.#fetchSnapshot(), RETRY_DELAY_MS / 2);
  }

  /** Fetches a snapshot, to find out why there are no events. `open`: 'now' to reopen the event stream immediately if possible. */
  async #fetchSnapshot(open = 'now') {
    this.#stop();
    try {
      const response = await fetch(new URL('snapshot', this.#base), { cache: 'no-store' });
      if (response.status === 401 || response.status === 403)
        this.#setLink({ state: 'forbidden', text: String(response.status) });
      else if (response.ok) {
        const snapshot = await response.json();
        if (snapshot.accepting) {
          if (open === 'now') return this.#open();
          this.#setLink({ state: 'refused', text: 'no events' });
        } else {
          this.#setLink({ state: 'ending' });
          if (this.#path === 'events' && this.#process === undefined) this.#onData('snapshot', snapshot);
        }
      } else this.#setLink({ state: 'refused', text: `${response.status} ${response.statusText}`.trim() });
    } catch {
      this.#setLink({ state: 'unreachable' });
    }
    this.#retryTimer = setTimeout(() => void this.#fetchSnapshot(), RETRY_DELAY_MS);
  }

  #stop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silenceTimer);
    this.#source?.close();
    this.#source = undefined;
  }

  #setLink(link) {
    if (this.#link?.state === link.state && this.#link.text === link.text) return;
    this.#link = link;
    this.#onLink(link);
  }
}
