import { Metadata, type experimental } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { ConnectionStream, type StreamEnd } from './connection-stream.js';

type SubchannelInterface = experimental.SubchannelInterface;
type Listener = Parameters<ReturnType<ReturnType<SubchannelInterface['getChannel']>['createCall']>['start']>[1];

// What it does on connections of grpc-js is proved over sockets, by test/health.

/** A connection of which a test decides everything. */
function connection({ start = () => Promise.resolve() }: { start?: () => Promise<void> } = {}) {
  const told: string[] = [];
  const listeners = new Set<() => void>();
  let received: Listener | undefined;
  const call = {
    options: { host: 'orders:50051' },
    start: (metadata: Metadata, listener: Listener) => {
      told.push(`start ${String(metadata.get('x-tenant'))} at ${call.options.host}`);
      // As grpc-js's filters do.
      metadata.set('grpc-accept-encoding', 'identity');
      received = listener;
      return start();
    },
    sendMessageWithContext: (_context: object, message: Uint8Array) => {
      told.push(`send ${message.length}`);
      return Promise.resolve();
    },
    startRead: () => told.push('read'),
    halfClose: () => told.push('half-close'),
    cancelWithStatus: (code: number) => told.push(`cancel ${code}`),
  };
  const subchannel = {
    getChannel: () => ({ createCall: (path: string) => (told.push(path), call) }),
    addConnectivityStateListener: (listener: () => void) => listeners.add(listener),
    removeConnectivityStateListener: (listener: () => void) => listeners.delete(listener),
  } as unknown as SubchannelInterface;
  const ends: (StreamEnd | undefined)[] = [];
  const messages: number[] = [];
  const metadata = new Metadata();
  metadata.set('x-tenant', 'shop');
  const open = (authority?: string) =>
    ConnectionStream.open(subchannel, {
      path: '/grpc.health.v1.Health/Watch',
      metadata,
      request: new Uint8Array(3),
      authority,
      onMessage: (bytes) => messages.push(bytes.length),
      onEnd: (end) => ends.push(end),
    })!;
  return {
    open,
    told,
    ends,
    messages,
    metadata,
    listeners,
    receive: (bytes: number) => {
      received!.onReceiveMessage(Buffer.alloc(bytes));
    },
    finish: (code: number) => {
      received!.onReceiveStatus({ code, details: 'bye', metadata: new Metadata() });
    },
    changeState: () => {
      for (const listener of [...listeners]) listener();
    },
  };
}

const settled = () => new Promise(setImmediate);

describe('a stream on one connection', () => {
  it('sends its request, and reads one message after the other', async () => {
    const { open, told, receive, messages, metadata } = connection();
    open('orders.example');
    await settled();
    receive(2);
    expect(told).toEqual([
      '/grpc.health.v1.Health/Watch',
      'start shop at orders.example',
      'send 3',
      'read',
      'half-close',
      'read',
    ]);
    expect(messages).toEqual([2]);
    // What the caller gave is shared.
    expect(metadata.get('grpc-accept-encoding')).toEqual([]);
  });

  it('tells its end once, and leaves nothing at the connection', async () => {
    const { open, finish, changeState, ends, listeners } = connection();
    const stream = open();
    await settled();
    finish(StatusCode.UNAVAILABLE);
    changeState();
    finish(StatusCode.OK);
    expect(ends).toEqual([expect.objectContaining({ code: StatusCode.UNAVAILABLE, details: 'bye' })]);
    expect([stream.isOver, listeners.size]).toEqual([true, 0]);
  });

  it('is cancelled when its connection takes no more calls', async () => {
    const { open, changeState, receive, ends, messages, told } = connection();
    open();
    await settled();
    changeState();
    receive(2);
    expect([ends, messages, told.at(-1)]).toEqual([[undefined], [], 'cancel 1']);
  });

  it('that is cancelled ends without a word, also where it had not been made yet', async () => {
    const { open, finish, ends, told, listeners } = connection();
    open().cancel();
    await settled();
    // The second one reaches what was made in between.
    expect(told.filter((one) => one === 'cancel 1')).toHaveLength(2);
    finish(StatusCode.CANCELLED);
    expect([ends, listeners.size]).toEqual([[], 0]);
  });

  it('that cannot be made tells so', async () => {
    const { open, ends } = connection({ start: () => Promise.reject(new Error('no such header')) });
    open();
    await settled();
    expect(ends).toEqual([{ code: StatusCode.INTERNAL, details: 'Error: no such header' }]);
  });

  it('is not there where grpc-js lets nobody call on one connection', () => {
    expect(ConnectionStream.open({} as SubchannelInterface, {} as never)).toBeUndefined();
  });
});
