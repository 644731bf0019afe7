import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { CHAIN_MARK } from '../../policy/retry/chain-stop.js';
import { StatusCode } from '../../status/status-code.js';
import type { ClientContext } from '../call-context.js';
import type { OutgoingCall } from '../interceptors/outgoing-call.js';
import { prepareAttempt, type AttemptParts } from '../interceptors/prepare-attempt.js';
import { preparationFailure } from '../interceptors/preparation-failure.js';

/** A call that may be ended by what is asked before its attempt. */
export interface OpenCall {
  isOpen(): boolean;
}

/** Of a call that ended before anything was sent. */
const NOTHING: Attempt = {
  peer: undefined,
  startRead: () => undefined,
  send: () => undefined,
  halfClose: () => undefined,
  cancel: () => undefined,
  abandon: () => undefined,
};

/** Asks interceptors and the client's function for metadata before each attempt, and begins it when they have answered. */
export function withPreparation(
  start: StartAttempt,
  call: OutgoingCall,
  parts: AttemptParts,
  client: ClientContext,
  owner: OpenCall,
): StartAttempt {
  return (request, listener) => {
    const metadata = metadataOf(request, call, parts);
    if (!owner.isOpen()) {
      if (metadata instanceof Promise) metadata.catch(() => undefined);
      return NOTHING;
    }
    if (metadata instanceof Promise) return new PreparedAttempt(start, request, listener, metadata, client);
    return start(requestWith(request, metadata), listener);
  };
}

function metadataOf(request: AttemptRequest, call: OutgoingCall, parts: AttemptParts): Metadata | Promise<Metadata> {
  try {
    return prepareAttempt(call, request.number, request.deadline, parts);
  } catch (error) {
    // The caller of `start` has not got his attempt yet: he hears of it like of a rejection.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- handed on as it is
    return Promise.reject(error);
  }
}

function requestWith(request: AttemptRequest, metadata: Metadata): AttemptRequest {
  const { method, deadline, options, interceptors, maxReceiveBytes, number, mayRepeat, telemetry } = request;
  // What is made anew for each attempt knows nothing of hedges.
  const [mark] = request.metadata.get(CHAIN_MARK);
  if (mark !== undefined && metadata.get(CHAIN_MARK).length === 0) metadata.set(CHAIN_MARK, mark);
  return { method, deadline, metadata, options, interceptors, maxReceiveBytes, number, mayRepeat, telemetry };
}

/** An attempt that has not begun yet; what it is told meanwhile it does afterwards. */
class PreparedAttempt implements Attempt {
  private inner: Attempt | undefined;
  private message: { readonly payload: unknown; readonly written: (() => void) | undefined } | undefined;
  private closing = false;
  private reading = false;
  private over = false;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    private readonly listener: AttemptListener,
    metadata: Promise<Metadata>,
    private readonly client: ClientContext,
  ) {
    metadata.then(
      (ready) => {
        if (this.over) return;
        if (this.client.transport.ready) this.begin(start, requestWith(request, ready));
        else this.end(StatusCode.UNAVAILABLE, 'The channel was lost before the call was sent', false);
      },
      (error: unknown) => {
        const { code, details } = preparationFailure(error);
        this.end(code, details, true, error);
      },
    );
  }

  get peer(): string | undefined {
    return this.inner?.peer;
  }

  startRead(): void {
    if (this.inner === undefined) this.reading = true;
    else this.inner.startRead();
  }

  send(payload: unknown, written?: () => void): void {
    if (this.inner === undefined) this.message = { payload, written };
    else this.inner.send(payload, written);
  }

  halfClose(): void {
    if (this.inner === undefined) this.closing = true;
    else this.inner.halfClose();
  }

  cancel(why: AttemptEnd['endedHere'], code: number, details: string): void {
    if (this.inner === undefined) this.end(code, details, true, undefined, why);
    else this.inner.cancel(why, code, details);
  }

  abandon(because?: 'deadline'): void {
    this.over = true;
    this.inner?.abandon(because);
  }

  private begin(start: StartAttempt, request: AttemptRequest): void {
    let inner: Attempt;
    try {
      inner = start(request, this.listener);
    } catch (error) {
      const { code, details } = preparationFailure(error);
      this.end(code, details, true, error);
      return;
    }
    this.inner = inner;
    if (this.message !== undefined) inner.send(this.message.payload, this.message.written);
    this.message = undefined;
    if (this.closing) inner.halfClose();
    if (this.reading) inner.startRead();
  }

  /** It ended before it began. */
  private end(
    code: number,
    details: string,
    channelReady: boolean,
    cause?: unknown,
    endedHere: AttemptEnd['endedHere'] = 'no',
  ): void {
    if (this.over) return;
    this.over = true;
    this.listener.onEnd({
      code,
      details,
      endedHere,
      channelReady,
      cause,
      picked: false,
      headersReceived: false,
      messagesReceived: 0,
      contentType: undefined,
      metadata: NO_METADATA,
      peer: undefined,
      connection: undefined,
    });
  }
}
