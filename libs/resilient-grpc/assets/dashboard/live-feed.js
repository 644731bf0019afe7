/** Without an event for so long something is wrong; one comes each second. */
const SILENT_AFTER_MS = 3_500;
const AGAIN_AFTER_MS = 2_000;

/**
 * Events of the server, for as long as the page is open. `onData(event, data)` gets what it says; `onLink(link)` how the link is:
 * 'connecting', 'live', 'silent', 'away', 'ending', 'forbidden' or 'refused', with a text where there is more to say.
 */
export class LiveFeed {
  #base;
  #onData;
  #onLink;
  #source;
  #again;
  #watch;
  #link;
  #query = '';

  constructor(base, { onData, onLink }) {
    this.#base = base;
    this.#onData = onData;
    this.#onLink = onLink;
  }

  /** Listens; with the details of one client, if `client` names one. */
  listen(client) {
    this.#query = client === undefined ? '' : `?client=${encodeURIComponent(client)}`;
    this.#tell(this.#link?.state === 'live' ? this.#link : { state: 'connecting' });
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
        this.#heard(parsed.accepting ? { state: 'live' } : { state: 'ending' });
        this.#onData(event, parsed);
      });
    source.addEventListener('end', () => this.#ended());
    source.addEventListener('error', () => {
      // While it is CONNECTING the browser tries again by itself; what it was answered instead of events it does not say.
      if (source !== this.#source) return;
      clearTimeout(this.#watch);
      if (source.readyState === EventSource.CLOSED) void this.#ask('later');
      else this.#tell({ state: 'away' });
    });
  }

  #heard(link) {
    this.#tell(link);
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#tell({ state: 'silent' }), SILENT_AFTER_MS);
  }

  /** The application shuts down: its streams have ended, its servers answer a little longer. */
  #ended() {
    this.#stop();
    this.#tell({ state: 'ending' });
    this.#again = setTimeout(() => void this.#ask(), AGAIN_AFTER_MS / 2);
  }

  /** Asks why there are no events, and shows what there is without them. `open`: when to listen again where there could be some. */
  async #ask(open = 'now') {
    this.#stop();
    try {
      const answer = await fetch(new URL('snapshot', this.#base), { cache: 'no-store' });
      if (answer.status === 401 || answer.status === 403)
        this.#tell({ state: 'forbidden', text: String(answer.status) });
      else if (answer.ok) {
        const snapshot = await answer.json();
        if (snapshot.accepting) {
          if (open === 'now') return this.#open();
          this.#tell({ state: 'refused', text: 'no events' });
        } else {
          this.#tell({ state: 'ending' });
          this.#onData('snapshot', snapshot);
        }
      } else this.#tell({ state: 'refused', text: `${answer.status} ${answer.statusText}` });
    } catch {
      this.#tell({ state: 'away' });
    }
    this.#again = setTimeout(() => void this.#ask(), AGAIN_AFTER_MS);
  }

  #stop() {
    clearTimeout(this.#again);
    clearTimeout(this.#watch);
    this.#source?.close();
    this.#source = undefined;
  }

  #tell(link) {
    if (this.#link?.state === link.state && this.#link.text === link.text) return;
    this.#link = link;
    this.#onLink(link);
  }
}
