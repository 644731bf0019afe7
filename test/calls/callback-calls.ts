import type { CallOptions, InterceptingCall, Metadata, ServiceError, StatusObject } from '@grpc/grpc-js';
import type { Echo, EchoRequest } from '../testing/echo-client.js';
import { toList, upTo } from './support.js';

export type Done = (error: ServiceError | null, value?: Echo) => void;

/** Members of all calls of grpc-js's generated client. */
export interface CallbackCall {
  cancel(): void;
  getPeer(): string;
  getAuthContext(): ReturnType<InterceptingCall['getAuthContext']>;
  on(event: 'metadata', listener: (headers: Metadata) => void): this;
  on(event: 'status', listener: (status: StatusObject) => void): this;
}

export interface Requests extends CallbackCall {
  write(request: EchoRequest, flags?: unknown, written?: () => void): boolean;
  end(): void;
}

export type Responses = CallbackCall & AsyncIterable<Echo>;

/** grpc-js's generated client of the Echo service. */
export interface Callbacks {
  unary(request: EchoRequest, done: Done): CallbackCall;
  unary(request: EchoRequest, options: CallOptions, done: Done): CallbackCall;
  unsafeUnary(request: EchoRequest, done: Done): CallbackCall;
  unsafeUnary(request: EchoRequest, options: CallOptions, done: Done): CallbackCall;
  Unary(request: EchoRequest, done: Done): unknown;
  clientStream(done: Done): Requests;
  serverStream(request: EchoRequest): Responses;
  bidi(): Requests & Responses;
  close(): void;
}

/** Resolves to the response of a call with a single response. */
export function answer(call: (done: Done) => unknown): Promise<Echo | undefined> {
  return new Promise((resolve, reject) => {
    call((error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
}

function send<T extends Requests>(call: T): T {
  for (const request of upTo(3)) call.write(request);
  call.end();
  return call;
}

/** A kind of call: its method, a function that makes one call and resolves to the numbers in the responses, and these numbers. */
interface Kind {
  readonly method: string;
  readonly call: (client: Callbacks) => Promise<unknown>;
  readonly numbers: unknown;
}

export const KINDS: readonly (readonly [kind: string, Kind])[] = [
  [
    'unary',
    {
      method: 'UnsafeUnary',
      call: async (client) => (await answer((done) => client.unsafeUnary({ number: 7 }, done)))?.number,
      numbers: 7,
    },
  ],
  [
    'client-streaming',
    {
      method: 'ClientStream',
      call: async (client) => (await answer((done) => send(client.clientStream(done))))?.number,
      numbers: 3,
    },
  ],
  [
    'server-streaming',
    {
      method: 'ServerStream',
      call: async (client) => (await toList(client.serverStream({ number: 3 }))).map(({ number }) => number),
      numbers: [1, 2, 3],
    },
  ],
  [
    'bidi',
    {
      method: 'Bidi',
      call: async (client) => (await toList(send(client.bidi()))).map(({ number }) => number),
      numbers: [1, 2, 3],
    },
  ],
];
