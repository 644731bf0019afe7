import { join } from 'node:path';
import { Test, type TestingModule } from '@nestjs/testing';
import {
  ResilientGrpcModule,
  getGrpcServiceToken,
  type GrpcCallError,
  type GrpcCallOptions,
  type Resilient,
} from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer, fakeGrpcService, grpcError } from 'nestjs-resilient-grpc/testing';
import type { Observable } from 'rxjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { repeatUntil } from '../support/repeat-until.js';
import type { OrderEvent, OrdersClient } from '../../src/gen/orders.pb.js';

const PROTO = join(import.meta.dirname, '../../protos/orders.proto');
const order = { id: '7', requestId: '', item: 'tea', quantity: 1, sequence: '1' };
const event = (sequence: string): OrderEvent => ({ sequence, order: undefined });

const [ENDS, FAILS, HANGS] = ['0', '8', '9'] as const;
/** The fake behaves like the server. `id` selects the result of Get. Watch sends two events, and `from` selects how the stream ends. */
const fake = fakeGrpcService<OrdersClient>({
  get: ({ id }, { signal }) => {
    if (id === '7') return order;
    if (id === 'none') throw grpcError('NOT_FOUND', 'no such order');
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
  },
  async *watch({ from }) {
    yield* [event('1'), event('2')];
    if (from === FAILS) throw grpcError('DATA_LOSS', 'the log is truncated');
    if (from === HANGS) await new Promise(() => undefined);
  },
});

let server: ScriptedGrpcServer;
let app: TestingModule;
let stub: Resilient<OrdersClient>;
beforeAll(async () => {
  server = await ScriptedGrpcServer.start({
    protoPath: PROTO,
    scripts: {
      Get: ({ request }) => {
        const { id } = request as { id: string };
        if (id === '7') return { message: order };
        return id === 'none' ? { status: 'NOT_FOUND', details: 'no such order' } : { never: true };
      },
      Watch: ({ request }) => {
        const from = String((request as { from: unknown }).from);
        const messages = [event('1'), event('2')];
        if (from === FAILS) return { messages, status: 'DATA_LOSS', details: 'the log is truncated' };
        return from === HANGS ? { messages, never: true } : { messages };
      },
    },
  });
  const client = { name: 'orders', url: server.url, protoPath: PROTO, loader: { longs: String } };
  app = await Test.createTestingModule({ imports: [ResilientGrpcModule.forFeature([client])] }).compile();
  stub = app.get(getGrpcServiceToken('orders', 'Orders'), { strict: false });
  return async () => {
    await app.close();
    await server.close();
  };
});

/** Everything that a caller receives: messages, callbacks, and the end. */
interface Seen {
  readonly messages: readonly string[];
  readonly callbacks: readonly unknown[];
  readonly ended: 'completed' | { readonly attempts: number; readonly [detail: string]: unknown };
}

async function seenOf(call: (options: GrpcCallOptions) => Observable<object>): Promise<Seen> {
  const callbacks: unknown[] = [];
  const options: GrpcCallOptions = {
    onHeaders: () => callbacks.push('headers'),
    onEnd: ({ code, attempts }) => callbacks.push({ code, attempts: attempts.length }),
  };
  return new Promise((resolve) => {
    const messages: string[] = [];
    call(options).subscribe({
      next: (message) => messages.push(String(Object.values(message)[0])),
      complete: () => resolve({ messages, callbacks, ended: 'completed' }),
      error: ({ codeName, details, reason, reachedServer, attempts }: GrpcCallError) => {
        const text = details.replace(/[\d.]+s.*/, '… s');
        resolve({ messages, callbacks, ended: { codeName, text, reason, reachedServer, attempts: attempts.length } });
      },
    });
  });
}

type Call = (orders: Resilient<OrdersClient>, options: GrpcCallOptions) => Observable<object>;

const wasSent = ({ ended }: Seen) => ended !== 'completed' && ended.attempts === 1;
const receivedBoth = ({ messages }: Seen) => messages.length === 2;

describe('fake and real stub', () => {
  // `isMet` returns true if the call progressed as far as it does on an idle machine. On a busy machine, the timeout can end a call of the
  // real stub earlier, but not a call of the fake.
  it.each<[string, Call, isMet?: (real: Seen) => boolean]>([
    ['a successful call', (orders, options) => orders.get({ id: '7' }, options)],
    ['a failed call', (orders, options) => orders.get({ id: 'none' }, options)],
    [
      'a call that hangs until its deadline',
      (orders, options) => orders.get({ id: '' }, { ...options, timeoutMs: 300 }),
      wasSent,
    ],
    [
      'a call that is aborted before it starts',
      (orders, options) => orders.get({ id: '7' }, { ...options, signal: AbortSignal.abort(new Error('aborted')) }),
    ],
    ['a stream that ends', (orders, options) => orders.watch({ from: ENDS }, options)],
    ['a stream that fails after messages', (orders, options) => orders.watch({ from: FAILS }, options)],
    [
      'a stream that exceeds its idle timeout',
      (orders, options) => orders.watch({ from: HANGS }, { ...options, streamIdleTimeoutMs: 500 }),
      receivedBoth,
    ],
  ])('behaves the same with a fake and a real stub for %s', async (_what, call, isMet = () => true) => {
    const real = await repeatUntil(
      'the client sends the call and receives its messages before the timeout',
      async () => {
        const seen = await seenOf((options) => call(stub, options));
        return isMet(seen) && seen;
      },
    );
    expect(await seenOf((options) => call(fake, options))).toEqual(real);
  });
});
