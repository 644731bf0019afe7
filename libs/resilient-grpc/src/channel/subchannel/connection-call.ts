import { Metadata, type StatusObject } from '@grpc/grpc-js';
import type { Attempt } from '../../call/attempt.js';
import type { WireEvidence } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';

/** Receives the events of a call on one connection. */
export interface ConnectionCallListener {
  onReceiveMetadata(headers: Metadata): void;
  /** Receives one message with its header of five bytes. */
  onReceiveMessage(framed: Buffer): void;
  onReceiveStatus(status: StatusObject): void;
}

/** grpc-js's call on one connection. */
export interface ConnectionCall {
  cancelWithStatus(code: number, details: string): void;
  getPeer(): string;
  getAuthContext(): Attempt['authContext'];
  sendMessageWithContext(context: { callback?: () => void }, framed: Buffer): void;
  startRead(): void;
  halfClose(): void;
}

/** Evidence of a call on the transport of this library, and its connection. */
export interface CallFacts {
  readonly evidence: WireEvidence;
  readonly connection: { readonly endListeners: Set<() => void> };
}

/** A call on a connection of this library's transport. */
export abstract class TransportCall implements ConnectionCall {
  /** Address of the connection in the history of its channel. */
  abstract readonly address: string;
  abstract readonly facts: CallFacts;
  /** True if requests can no longer be sent. */
  abstract readonly isWritableEnded: boolean;
  abstract cancelWithStatus(code: number, details: string): void;
  abstract getPeer(): string;
  abstract getAuthContext(): Attempt['authContext'];
  abstract sendMessageWithContext(context: { callback?: () => void }, framed: Buffer): void;
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

/** A call that is not sent, because the peer would end the connection, with all calls on it. */
export class RefusedCall extends TransportCall {
  readonly isWritableEnded = true;
  private status: StatusObject;

  constructor(
    readonly address: string,
    private readonly peer: string,
    private readonly connection: CallFacts['connection'],
    details: string,
    listener: ConnectionCallListener,
    callNumber: number | undefined,
  ) {
    super(callNumber);
    this.status = { code: StatusCode.RESOURCE_EXHAUSTED, details, metadata: new Metadata() };
    process.nextTick(() => listener.onReceiveStatus(this.status));
  }

  get facts(): CallFacts {
    const evidence: WireEvidence = {
      unprocessed: 'refused-here',
      httpStatus: undefined,
      resetCode: undefined,
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
    return this.peer;
  }

  getAuthContext(): Attempt['authContext'] {
    return {};
  }

  sendMessageWithContext({ callback }: { callback?: () => void }): void {
    if (callback !== undefined) process.nextTick(callback);
  }

  startRead(): void {
    // The status follows.
  }

  halfClose(): void {
    // Nothing is sent.
  }
}
