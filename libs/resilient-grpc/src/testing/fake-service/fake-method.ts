import type { MethodDescriptor, MethodKind } from '../../call/method.js';
import { FAKE_CLIENT } from './grpc-error.js';

/**
 * A method of no contract, made for each call: which kind it is shows in what it is given, and only when it has run in what its
 * handler gives.
 */
export class FakeMethod implements MethodDescriptor {
  readonly service = FAKE_CLIENT;
  readonly path: string;
  readonly declaredIdempotent = false;
  /** The handler gave one message, which its caller gets with the end: who takes one and leaves does not cancel. */
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

  /** Only to count what is sent: it counts nothing. */
  requestSerialize(): Buffer {
    return Buffer.alloc(0);
  }

  responseDeserialize(bytes: Buffer): unknown {
    return bytes;
  }
}
