import type { Clock, Timer } from '../time/clock.js';
import { errorMessage, isError } from '../errors/error-message.js';

/**
 * Maximum time in milliseconds until the response headers arrive, and between two chunks of the body. A process sends at least one event
 * per second.
 */
const SILENT_AFTER_MS = 5_000;
const RETRY_DELAY_MS = 2_000;
/** Maximum length of an event, in characters. The full state of 50 clients is much shorter. */
const MAX_EVENT_CHARS = 32 * 1024 * 1024;

/** State of the connection to a process, as the page shows it. */
export type RelayState = 'connecting' | 'live' | 'silent' | 'unreachable' | 'forbidden' | 'refused' | 'ending';

/** Receives the events of a process and the states of the connection to it. */
export interface RelaySink {
  /** Receives an event and its JSON, which is a single line. The next event is read only after the returned promise resolves. */
  event(event: string, json: string): Promise<void>;
  /** Receives a change of the connection state, and its cause if there is one. */
  link(state: RelayState, text?: string): void;
}

/** Reads the dashboard events of one process, and reconnects until `close()` is called. Does not follow redirects. */
export class ProcessRelay {
  private readonly closing = new AbortController();
  private state: RelayState | undefined;
  private text: string | undefined;
  private endRetryDelay: (() => void) | undefined;

  /** @param url URL of the event stream */
  constructor(
    private readonly url: URL,
    private readonly headers: Readonly<Record<string, string>>,
    private readonly sink: RelaySink,
    private readonly clock: Clock,
  ) {
    void this.run();
  }

  close(): void {
    this.closing.abort();
    this.endRetryDelay?.();
  }

  private isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  private async run(): Promise<void> {
    this.link('connecting');
    while (!this.isClosed()) {
      await this.connect();
      if (this.isClosed()) return;
      await new Promise<void>((resolve) => {
        const timer = this.clock.setTimer(resolve, RETRY_DELAY_MS);
        this.endRetryDelay = () => {
          timer.clear();
          resolve();
        };
      });
    }
  }

  private async connect(): Promise<void> {
    const attempt = new Attempt(this.closing.signal, this.clock);
    try {
      const response = await attempt.within(
        fetch(this.url, {
          headers: { ...this.headers, accept: 'text/event-stream' },
          redirect: 'manual',
          signal: attempt.signal,
        }),
      );
      const { status, statusText, headers, body } = response;
      const isStream = headers.get('content-type')?.startsWith('text/event-stream') === true;
      if (response.ok && isStream && body !== null) {
        await this.read(body, attempt);
        return;
      }
      if (status === 401 || status === 403) this.link('forbidden', String(status));
      // A 503 does not replace the state 'ending', because a process that is shutting down refuses new streams.
      else if (status !== 503 || this.state !== 'ending')
        this.link('refused', `${String(status)} ${statusText}`.trim());
    } catch (error) {
      if (!this.isClosed()) this.link(...failureOf(error, attempt));
    } finally {
      attempt.end();
    }
  }

  private async read(body: ReadableStream<Uint8Array>, attempt: Attempt): Promise<void> {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    // Chunks since the last complete event. Joined only at the end of an event, so that a long event is not copied for each chunk.
    let chunks: string[] = [];
    let length = 0;
    let last = '';
    for (;;) {
      const { done, value } = await attempt.within(reader.read());
      if (done) {
        this.link(this.state === 'ending' ? 'ending' : 'unreachable', 'the connection was closed');
        return;
      }
      const chunk = decoder.decode(value, { stream: true }).replaceAll('\r', '');
      chunks.push(chunk);
      length += chunk.length;
      const added = last + chunk;
      last = added.slice(-1);
      const blocks = added.includes('\n\n') ? chunks.join('').split('\n\n') : [];
      const rest = blocks.pop();
      if (rest !== undefined) {
        chunks = [rest];
        length = rest.length;
      }
      for (const block of blocks) {
        const [event, json] = fieldsOf(block);
        if (event === 'end') this.link('ending');
        if (json === undefined || (event !== 'whole' && event !== 'change')) continue;
        this.link('live');
        await this.sink.event(event, json);
        if (this.isClosed()) return;
      }
      if (length > MAX_EVENT_CHARS) {
        this.link('refused', 'an event is too large');
        return;
      }
    }
  }

  private link(state: RelayState, text?: string): void {
    if (this.isClosed() || (this.state === state && this.text === text)) return;
    this.state = state;
    this.text = text;
    this.sink.link(state, text);
  }
}

/**
 * Returns the name and the data of an event. Splits only at line feeds, because JSON can contain other line separators, such as U+2028, at
 * which `$` of a /m regex matches.
 */
function fieldsOf(text: string): readonly [event?: string | undefined, json?: string] {
  const lines = text.split('\n');
  const index = lines.findIndex((line) => line.startsWith('event: '));
  const [name, data] = lines.slice(index, index + 2);
  return index >= 0 && data?.startsWith('data: ') === true
    ? [name?.slice('event: '.length), data.slice('data: '.length)]
    : [];
}

/** One connection to a process, aborted when a step takes too long. */
class Attempt {
  private readonly controller = new AbortController();
  private timer: Timer | undefined;
  isSilent = false;

  constructor(
    private readonly closing: AbortSignal,
    private readonly clock: Clock,
  ) {
    closing.addEventListener('abort', this.abort);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  async within<T>(step: Promise<T>): Promise<T> {
    this.timer = this.clock.setTimer(() => {
      this.isSilent = true;
      this.abort();
    }, SILENT_AFTER_MS);
    try {
      return await step;
    } finally {
      this.timer.clear();
    }
  }

  /** Closes the connection if it is still open. */
  end(): void {
    this.closing.removeEventListener('abort', this.abort);
    this.abort();
  }

  private readonly abort = (): void => {
    this.controller.abort();
  };
}

function failureOf(error: unknown, { isSilent }: Attempt): [RelayState, string?] {
  if (isSilent) return ['silent'];
  // Reports the system's error, which fetch() wraps in its own error.
  const cause = isError(error) && isError(error.cause) ? error.cause : error;
  return ['unreachable', errorMessage(cause)];
}
