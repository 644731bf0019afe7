import { setMaxListeners } from 'node:events';
import type { CapturedCall } from '../../call/inbound-call.js';
import { deadlineFromTimeout } from '../../policy/deadline/deadline.js';
import { parseGrpcTimeout } from '../../policy/deadline/grpc-timeout.js';
import { moment, type Clock } from '../../time/clock.js';

/** What is read of a request of Node, HTTP/1 or 2. */
export interface HttpRequest {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** What is heard of a response of Node. */
export interface HttpResponse {
  /** The whole of it was given to Node. */
  readonly writableEnded: boolean;
  readonly destroyed?: boolean;
  once(event: 'close', listener: () => void): unknown;
}

/** An HTTP request that is being served. */
export class HttpInboundCall implements CapturedCall {
  readonly kind = 'http';
  // What gRPC's own headers say comes from anybody here; only of gRPC callers they are taken for true.
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

  /** Made when somebody asks: most requests make no call that is tied to it. */
  get signal(): AbortSignal {
    if (this.controller !== undefined) return this.controller.signal;
    const { response } = this;
    const controller = new AbortController();
    this.controller = controller;
    // Each outgoing call listens once.
    setMaxListeners(0, controller.signal);
    const closed = (): void => {
      if (!response.writableEnded) controller.abort(new Error('The HTTP client went away before the response ended'));
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
