import { setMaxListeners } from 'node:events';
import type { CapturedCall } from '../../call/inbound-call.js';
import { AbortError } from '../../errors/library-error.js';
import { deadlineFromTimeout, parseGrpcTimeout } from '../../policy/deadline/deadline.js';
import { moment, type Clock } from '../../time/clock.js';

export interface HttpRequest {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export interface HttpResponse {
  /** True if the whole response was passed to Node. */
  readonly writableEnded: boolean;
  readonly destroyed?: boolean;
  once(event: 'close', listener: () => void): unknown;
}

export class HttpInboundCall implements CapturedCall {
  readonly kind = 'http';
  // Any HTTP client can send gRPC's retry headers; they are trusted only from gRPC callers.
  readonly retry = false;
  readonly streaming = false;
  readonly startedAt: number;
  readonly deadline?: Date;
  private controller: AbortController | undefined;

  constructor(
    private readonly request: HttpRequest,
    private readonly response: HttpResponse,
    clock: Clock,
  ) {
    this.startedAt = clock.now();
    const timeoutMs = parseGrpcTimeout(this.get('grpc-timeout') ?? '');
    if (timeoutMs === undefined) return;
    const deadline = deadlineFromTimeout(clock.epoch(), timeoutMs);
    if (deadline !== Infinity) this.deadline = moment(deadline);
  }

  /** Aborted if the client disconnects before the response ends. Created on first access, because most requests do not use the signal. */
  get signal(): AbortSignal {
    if (this.controller !== undefined) return this.controller.signal;
    const { response } = this;
    const controller = new AbortController();
    this.controller = controller;
    // Disables Node's leak warning, because handlers may add any number of listeners.
    setMaxListeners(0, controller.signal);
    const closed = (): void => {
      if (!response.writableEnded)
        controller.abort(new AbortError('The HTTP client disconnected before the response ended'));
    };
    if (response.destroyed === true) closed();
    else response.once('close', closed);
    return controller.signal;
  }

  get(key: string): string | undefined {
    const value = this.request.headers[key.toLowerCase()];
    return value === undefined || typeof value === 'string' ? value : value.join(', ');
  }
}
