const CALLS_BEFORE_WARNING = 100;

/** Warns if propagation is on while nothing captures inbound calls. */
export class InboundWatch {
  private missing = 0;
  private settled = false;

  constructor(private readonly warn: (message: string) => void) {}

  /** Records an outgoing call that should be bound to an inbound call; `found` is true if there was one. */
  readonly note = (found: boolean): void => {
    if (this.settled) return;
    if (!found) this.missing += 1;
    this.settled = found || this.missing >= CALLS_BEFORE_WARNING;
    if (found || !this.settled) return;
    this.warn(
      `propagate is on, but none of ${String(CALLS_BEFORE_WARNING)} calls found an inbound one to be bound to. ` +
        'Inbound calls of gRPC are seen where the microservice has the interceptors of the application: ' +
        'app.connectMicroservice(options, { inheritAppConfig: true }). Work that serves no inbound call needs no propagate',
    );
  };
}
