import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import type { SocketSubchannel } from '../quirks/socket-subchannel.js';
import type { ConnectionBoundCall } from '../subchannel/subchannel-channel.js';
import { ConnectionStream, type StreamEnd } from './connection-stream.js';

type Listener = Parameters<ConnectionBoundCall['start']>[1];

// test/health tests ConnectionStream over sockets.

/** Creates a fake connection that the test controls. */
function connection(start: () => void = () => undefined) {
  const actions: string[] = [];
  const listeners = new Set<() => void>();
  let received: Listener | undefined;
  const call = {
    start: (metadata: Metadata, listener: Listener) => {
      actions.push(`start ${String(metadata.get('x-tenant'))}`);
      // Changes the received metadata, as the call does.
      metadata.set('grpc-accept-encoding', 'identity');
      received = listener;
      start();
    },
    sendMessageWithContext: (_context: object, message: Uint8Array) => actions.push(`send ${message.length}`),
    startRead: () => actions.push('read'),
    halfClose: () => actions.push('half-close'),
    cancelWithStatus: (code: number) => actions.push(`cancel ${code}`),
  };
  const subchannel = {
    connectionChannel: { createCall: (path: string) => (actions.push(path), call) },
    addConnectivityStateListener: (listener: () => void) => listeners.add(listener),
    removeConnectivityStateListener: (listener: () => void) => listeners.delete(listener),
  } as unknown as SocketSubchannel;
  const ends: (StreamEnd | undefined)[] = [];
  const messages: number[] = [];
  const metadata = new Metadata();
  metadata.set('x-tenant', 'shop');
  const open = (more?: { onConnectionEnd: () => void }) =>
    ConnectionStream.open(subchannel, {
      path: '/grpc.health.v1.Health/Watch',
      metadata,
      request: Buffer.alloc(3),
      onMessage: (bytes) => messages.push(bytes.length),
      onEnd: (end) => ends.push(end),
      ...more,
    });
  return {
    open,
    actions,
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

describe('ConnectionStream', () => {
  it('sends the request of a stream and reads one message at a time', () => {
    const { open, actions, receive, messages, metadata } = connection();
    open();
    receive(2);
    expect(actions).toEqual(['/grpc.health.v1.Health/Watch', 'start shop', 'send 3', 'read', 'half-close', 'read']);
    expect(messages).toEqual([2]);
    // The caller's metadata is shared, so it must not change.
    expect(metadata.get('grpc-accept-encoding')).toEqual([]);
  });

  it('reports the end of a stream once and removes the listener of the stream from its connection', () => {
    const { open, finish, changeState, ends, listeners } = connection();
    const stream = open();
    finish(StatusCode.UNAVAILABLE);
    changeState();
    finish(StatusCode.OK);
    expect(ends).toEqual([expect.objectContaining({ code: StatusCode.UNAVAILABLE, details: 'bye' })]);
    expect([stream.isOver, listeners.size]).toEqual([true, 0]);
  });

  it('cancels a stream when its connection accepts no more calls', () => {
    const { open, changeState, receive, ends, messages, actions } = connection();
    open();
    changeState();
    receive(2);
    expect([ends, messages, actions.at(-1)]).toEqual([[undefined], [], 'cancel 1']);
  });

  it('reports the end of the connection once if the stream has ended with a status, and does not cancel the ended call', () => {
    const { open, actions, ends, finish, changeState, listeners } = connection();
    let connectionEnds = 0;
    const stream = open({ onConnectionEnd: () => (connectionEnds += 1) });
    finish(StatusCode.UNIMPLEMENTED);
    finish(StatusCode.OK);
    expect([ends.length, connectionEnds, stream.isOver]).toEqual([1, 0, false]);
    changeState();
    changeState();
    stream.cancel();
    expect([ends.length, connectionEnds, stream.isOver, listeners.size]).toEqual([1, 1, true, 0]);
    expect(actions.filter((action) => action.startsWith('cancel'))).toEqual([]);
  });

  it('does not report the end of the connection if the stream was cancelled, or if the end of the connection ended the stream', () => {
    for (const end of ['finish and cancel', 'cancel', 'end the connection'] as const) {
      const { open, finish, changeState, listeners } = connection();
      let connectionEnds = 0;
      const stream = open({ onConnectionEnd: () => (connectionEnds += 1) });
      if (end === 'finish and cancel') finish(StatusCode.UNIMPLEMENTED);
      if (end !== 'end the connection') stream.cancel();
      changeState();
      expect([connectionEnds, listeners.size]).toEqual([0, 0]);
    }
  });

  it('reports nothing after a stream is cancelled', () => {
    const { open, finish, ends, actions, listeners } = connection();
    open().cancel();
    expect(actions.at(-1)).toBe('cancel 1');
    finish(StatusCode.CANCELLED);
    expect([ends, listeners.size]).toEqual([[], 0]);
  });

  it('reports INTERNAL if a stream cannot be created on a connection', () => {
    const { open, ends } = connection(() => {
      throw new Error('no such header');
    });
    open();
    expect(ends).toEqual([{ code: StatusCode.INTERNAL, details: 'Error: no such header' }]);
  });
});
