import { Metadata, type MetadataOptions, type StatusObject } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import type { StatusCode } from '../../status/status-code.js';
import { systemClock } from '../../time/clock.js';

export interface ConnectionCallListener {
  onReceiveMetadata(headers: Metadata): void;
  /** Receives one message; with its length prefix if grpc-js's channel has created the call. */
  onReceiveMessage(message: Buffer, isCompressed: boolean): void;
  onReceiveStatus(status: StatusObject): void;
}

/** An attempt on grpc-js's channel, which learns on which connection the channel has placed it. */
export interface PlacedAttempt {
  /** True if the attempt is over, or was cancelled. grpc-js may still start its call. */
  readonly isOver: boolean;
  placed(call: TransportCall): void;
}

/** Key of the attempt in the options of `Metadata`. grpc-js copies the options with the metadata, and never sends them. */
const ATTEMPT_KEY = Symbol('attempt');

type AttemptOptions = MetadataOptions & { readonly [ATTEMPT_KEY]?: PlacedAttempt };

/** Sets the attempt that is told which call carries `metadata`. */
export function setAttempt(metadata: Metadata, attempt: PlacedAttempt): void {
  const options: AttemptOptions = { ...metadata.getOptions(), [ATTEMPT_KEY]: attempt };
  metadata.setOptions(options);
}

/** Returns the attempt with `metadata`; `undefined` for a direct call, or if an interceptor replaced the metadata. */
export function attemptOf(metadata: Metadata): PlacedAttempt | undefined {
  return (metadata.getOptions() as AttemptOptions)[ATTEMPT_KEY];
}

/** Evidence of a call on the transport of this library, and its connection. */
export interface CallFacts {
  readonly evidence: WireEvidence;
  readonly connection: { readonly endListeners: Set<() => void> };
}

/** A call on a connection of this library's transport. */
export abstract class TransportCall {
  /** Address of the connection in the history of its channel. */
  abstract readonly address: string;
  abstract readonly facts: CallFacts;
  /** True if requests can no longer be sent. */
  abstract readonly isWritableEnded: boolean;
  abstract cancelWithStatus(code: number, details: string): void;
  abstract getPeer(): string;
  abstract getAuthContext(): Attempt['authContext'];
  /** Called by grpc-js. `framed` contains the length prefix. */
  abstract sendMessageWithContext(context: { callback?: () => void }, framed: Buffer): void;
  /** Sends a message. `written` is called when the next message may be sent. */
  abstract send(message: Uint8Array, written: (() => void) | undefined): void;
  abstract startRead(): void;
  abstract halfClose(): void;

  constructor(private readonly callNumber: number | undefined) {}

  /** Called by grpc-js. */
  getCallNumber(): number {
    return this.callNumber ?? 0;
  }

  /** Called by grpc-js. */
  getDeadlineInfo(): string[] {
    return [`remote_addr=${this.getPeer()}`];
  }
}

/** A call that is not sent, because it is over, or because the peer would end the connection, with all calls on it. */
export class RefusedCall extends TransportCall {
  readonly isWritableEnded = true;
  private status: StatusObject;

  constructor(
    private readonly connection: CallFacts['connection'] & { readonly address: string; readonly peer: string },
    code: StatusCode,
    details: string,
    listener: ConnectionCallListener,
    callNumber: number | undefined,
  ) {
    super(callNumber);
    this.status = { code, details, metadata: new Metadata() };
    process.nextTick(() => listener.onReceiveStatus(this.status));
  }

  get address(): string {
    return this.connection.address;
  }

  get facts(): CallFacts {
    const evidence: WireEvidence = {
      unprocessed: 'refused-here',
      httpStatus: undefined,
      resetCode: undefined,
      lacksTrailers: false,
      closedHere: false,
      goawayCode: undefined,
      acceptsNoStreams: false,
      timedOut: false,
    };
    return { evidence, connection: this.connection };
  }

  cancelWithStatus(code: number, details: string): void {
    this.status = { code, details, metadata: new Metadata() };
  }

  getPeer(): string {
    return this.connection.peer;
  }

  getAuthContext(): Attempt['authContext'] {
    return {};
  }

  sendMessageWithContext({ callback }: { callback?: () => void }): void {
    if (callback !== undefined) systemClock.defer(callback);
  }

  send(_message: Uint8Array, written: (() => void) | undefined): void {
    if (written !== undefined) systemClock.defer(written);
  }

  startRead(): void {
    // The status follows.
  }

  halfClose(): void {
    // Nothing is sent.
  }
}
