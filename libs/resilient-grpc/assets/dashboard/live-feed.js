/** Time without an event after which the link counts as silent, in milliseconds; two events arrive per second. */
const SILENT_AFTER_MS = 3_500;
const RETRY_DELAY_MS = 2_000;

/**
 * Receives the events of the application while the page is open. `onData(event, data)` receives the data of each event. `onLink(link)`
 * receives the link state: 'connecting', 'live', 'silent', 'unreachable', 'ending', 'forbidden', or 'refused'. Some states have additional
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

  constructor(base, { onData, onLink }) {
    this.#base = base;
    this.#onData = onData;
    this.#onLink = onLink;
  }

  /** Starts receiving events, with the details of `client` if given. */
  listen(client) {
    this.#query = client === undefined ? '' : `?${new URLSearchParams({ client })}`;
    this.#setLink(this.#link?.state === 'live' ? this.#link : { state: 'connecting' });
    this.#open();
  }

  #open() {
    this.#stop();
    const source = new EventSource(new URL(`events${this.#query}`, this.#base));
    this.#source = source;
    for (const event of ['whole', 'change'])
      source.addEventListener(event, ({ data }) => {
        if (source !== this.#source) return;
        const parsed = JSON.parse(data);
        this.#received({ state: parsed.accepting ? 'live' : 'ending' });
        this.#onData(event, parsed);
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
          this.#onData('snapshot', snapshot);
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
