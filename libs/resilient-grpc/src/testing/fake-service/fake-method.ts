import type { MethodDescriptor, MethodKind } from '../../call/method.js';
import { FAKE_CLIENT } from './grpc-error.js';

/**
 * A method without a service definition, created per call. Its kind is derived from the request that the caller passes and, after the
 * handler has run, from the return value of the handler.
 */
export class FakeMethod implements MethodDescriptor {
  readonly service = FAKE_CLIENT;
  readonly path: string;
  readonly declaredIdempotent = false;
  /**
   * True if the handler returned a single message, or an Observable that completed before its only message was delivered, such as
   * `of(message)`. The status arrives with the message, so unsubscribing after the message does not cancel the call.
   */
  answersOnce = false;

  constructor(
    readonly method: string,
    readonly requestStream: boolean,
  ) {
    this.path = `/${FAKE_CLIENT}/${method}`;
  }

  get responseStream(): boolean {
    return !this.answersOnce;
  }

  get kind(): MethodKind {
    if (this.requestStream) return this.answersOnce ? 'client-stream' : 'bidi';
    return this.answersOnce ? 'unary' : 'server-stream';
  }

  /** Returns no bytes. Messages are not serialized; the result only determines the size of buffered requests. */
  requestSerialize(): Buffer {
    return Buffer.alloc(0);
  }

  responseDeserialize(bytes: Buffer): unknown {
    return bytes;
  }
}
