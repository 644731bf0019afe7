import type { PropagationNotes } from '../../call/propagation.js';

const CALLS_BEFORE_WARNING = 100;

/** Warns if propagation is on but inbound calls are not captured, or metadata cannot be forwarded. */
export class InboundWatch implements PropagationNotes {
  /** Keys in the warnings about metadata. */
  private readonly droppedKeys = new Set<string>();
  private missing = 0;
  private settled = false;

  constructor(private readonly warn: (message: string) => void) {}

  /** Records an outgoing call to which propagation applies; `found` is true if it has an inbound call. */
  note(found: boolean): void {
    if (this.settled) return;
    if (!found) this.missing += 1;
    this.settled = found || this.missing >= CALLS_BEFORE_WARNING;
    if (found || !this.settled) return;
    this.warn(
      `propagate is on, but none of the first ${String(CALLS_BEFORE_WARNING)} outgoing calls serves an inbound call. ` +
        "With Nest's own gRPC server, inbound calls are captured only if the microservice has the application's interceptors: " +
        'app.connectMicroservice(options, { inheritAppConfig: true }). If no outgoing call is meant to serve an inbound call, remove propagate',
    );
  }

  dropped(key: string, problem: string): void {
    if (this.droppedKeys.has(key)) return;
    this.droppedKeys.add(key);
    const remedy = key.endsWith('-bin')
      ? ''
      : `. To forward any value, let the caller send it as '${key}-bin', in base64, and propagate that key`;
    this.warn(`propagate.metadata: a value of '${key}' is not forwarded: ${problem}${remedy}`);
  }
}
