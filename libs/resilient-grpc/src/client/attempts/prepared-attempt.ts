import { AsyncResource } from 'node:async_hooks';
import type { Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import { NO_METADATA } from '../../channel/wire/call-metadata.js';
import { RETRY_CHAIN_KEY } from '../../policy/retry/decide-retry.js';
import { StatusCode } from '../../status/status-code.js';
import type { Waiter } from '../../call/call-transport.js';
import type { ClientContext } from '../call-context.js';
import {
  prepareAttempt,
  type AttemptInterceptors,
  type OutgoingCall,
  type PendingMetadata,
} from '../interceptors/call-hooks.js';
import { preparationFailure } from './call-failure.js';

const LOST = 'The connection was lost before the call was sent';

/** Attempt that is never sent, because its call ended while the attempt was being prepared. */
const UNSENT_ATTEMPT: Attempt = {
  peer: undefined,
  startRead: () => undefined,
  send: () => undefined,
  halfClose: () => undefined,
  cancel: () => undefined,
  abandon: () => undefined,
};

/** Runs the interceptors and the client's metadata function before each attempt, and starts the attempt when they have completed. */
export function withPreparation(
  start: StartAttempt,
  call: OutgoingCall,
  interceptors: AttemptInterceptors,
  client: ClientContext,
  /** The call. An interceptor or the metadata function may end the call before the attempt starts. */
  owner: { isOpen(): boolean },
): StartAttempt {
  return (request, listener) => {
    const metadata = metadataOf(request, call, interceptors);
    if (!owner.isOpen()) {
      if ('waitsFor' in metadata) metadata.metadata.catch(() => undefined);
      return UNSENT_ATTEMPT;
    }
    if ('waitsFor' in metadata) return new PreparedAttempt(start, request, listener, metadata, client);
    return start(requestWith(request, metadata), listener);
  };
}

function metadataOf(
  request: AttemptRequest,
  call: OutgoingCall,
  interceptors: AttemptInterceptors,
): Metadata | PendingMetadata {
  try {
    return prepareAttempt(call, request.number, request.deadline, interceptors);
  } catch (error) {
    // The caller of `start` does not have its attempt yet, so a thrown error is reported like a rejection.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- forwarded unchanged
    return { metadata: Promise.reject(error), waitsFor: 'an interceptor' };
  }
}

function requestWith(request: AttemptRequest, metadata: Metadata): AttemptRequest {
  // Copies the hedge mark, because metadata that is created for each attempt does not contain it.
  const [mark] = request.metadata.get(RETRY_CHAIN_KEY);
  if (mark !== undefined && metadata.get(RETRY_CHAIN_KEY).length === 0) metadata.set(RETRY_CHAIN_KEY, mark);
  return { ...request, metadata };
}

/** An attempt that waits for its metadata. Operations requested during the wait are executed when the attempt starts. */
class PreparedAttempt implements Attempt {
  private inner: Attempt | undefined;
  private message: { readonly payload: unknown; readonly written: (() => void) | undefined } | undefined;
  private closing = false;
  private reading = false;
  private over = false;
  /** Queue entry of the attempt while it waits for a free stream; `undefined` otherwise. */
  private waiter: Waiter | undefined;

  constructor(
    start: StartAttempt,
    request: AttemptRequest,
    private readonly listener: AttemptListener,
    private readonly pending: PendingMetadata,
    private readonly client: ClientContext,
  ) {
    pending.metadata.then(
      (ready) => {
        if (this.over) return;
        if (this.client.transport.ready) this.begin(start, requestWith(request, ready));
        else if (this.client.transport.isConnected) this.awaitStream(start, requestWith(request, ready));
        else this.end(StatusCode.UNAVAILABLE, LOST, false);
      },
      (error: unknown) => {
        this.fail(error);
      },
    );
  }

  get peer(): string | undefined {
    return this.inner?.peer;
  }

  get authContext(): Attempt['authContext'] {
    return this.inner?.authContext;
  }

  get obstacle(): Attempt['obstacle'] {
    return this.inner?.obstacle;
  }

  get unsentBecause(): string | undefined {
    if (this.inner !== undefined) return this.inner.unsentBecause;
    const { transport } = this.client;
    return this.waiter === undefined ? `waiting for ${this.pending.waitsFor}` : `waiting: ${transport.whyNotReady()}`;
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
    this.dequeue();
    if (this.inner === undefined) this.end(code, details, true, undefined, why);
    else this.inner.cancel(why, code, details);
  }

  abandon(because?: 'deadline'): void {
    this.over = true;
    this.dequeue();
    this.inner?.abandon(because);
  }

  /** Waits for a free stream, because other calls are using all streams. The call enforces its deadline during the wait. */
  private awaitStream(start: StartAttempt, request: AttemptRequest): void {
    const { transport, clock } = this.client;
    // Keeps the async context of this attempt, because `release` runs in the context of the call that frees the stream.
    const asyncContext = new AsyncResource('ResilientGrpcAttempt');
    const waiter: Waiter = {
      waitForReady: undefined,
      deadline: request.deadline,
      waitingSince: clock.now(),
      bytes: 0,
      rateLimited: false,
      expectsPromptResponse: !request.method.responseStream,
      path: request.method.path,
      release: () => {
        this.waiter = undefined;
        // Reports 'cancelled' for this wait, which is no evidence about the server. If the call also waited before its interceptors ran,
        // its gate reports the result of the call for that wait.
        transport.releasedCallEnded('cancelled', waiter);
        asyncContext.runInAsyncScope(() => {
          this.begin(start, request);
        });
      },
      refuse: ({ details }) => {
        this.waiter = undefined;
        this.end(StatusCode.UNAVAILABLE, details, false);
      },
    };
    this.waiter = waiter;
    transport.wait(waiter);
  }

  private dequeue(): void {
    if (this.waiter !== undefined) this.client.transport.dequeue(this.waiter);
    this.waiter = undefined;
  }

  private begin(start: StartAttempt, request: AttemptRequest): void {
    let inner: Attempt;
    try {
      inner = start(request, this.listener);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.inner = inner;
    if (this.message !== undefined) inner.send(this.message.payload, this.message.written);
    this.message = undefined;
    if (this.closing) inner.halfClose();
    if (this.reading) inner.startRead();
  }

  private fail(error: unknown): void {
    const { code, details } = preparationFailure(error);
    this.end(code, details, true, error, 'not-prepared');
  }

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
