import { Metadata, status as Status } from '@grpc/grpc-js';
import { deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import type { ConnectionCallListener, TransportCall } from '../subchannel/connection-call.js';
import { DirectCall, timeoutValue, type MessageLimits } from './direct-call.js';

const NO_LIMITS: MessageLimits = { maxSendBytes: -1, maxReceiveBytes: -1 };

function make({ limits = NO_LIMITS, deadline = Infinity, picks = true, pickEnd = (): void => undefined } = {}) {
  const clock = new VirtualClock();
  const did: string[] = [];
  const frames: Buffer[] = [];
  const events: string[] = [];
  let headers: Metadata | undefined;
  let listener: ConnectionCallListener | undefined;
  const callEnds: number[] = [];
  const pickEnds: number[] = [];
  const call = {
    isWritableEnded: false,
    cancelWithStatus: (code: number, details: string) => void did.push(`cancel ${code} ${details}`),
    getPeer: () => '127.0.0.1:50051',
    send: (message: Buffer) => void frames.push(message),
  };
  const channel = {
    createCall: (_picker: never, _path: string, metadata: Metadata, to: ConnectionCallListener) => {
      if (!picks) return undefined;
      headers = metadata;
      listener = to;
      const onCallEnded = (code: number): void => {
        pickEnds.push(code);
        pickEnd();
      };
      // Safe: a direct call uses only these members.
      return { call: call as unknown as TransportCall, onCallEnded };
    },
    callEnded: ({ code }: { code: number }) => void callEnds.push(code),
  };
  const direct: DirectCall = new DirectCall(
    channel,
    limits,
    {
      onReceiveMetadata: (received) => void events.push(`headers ${JSON.stringify(received.toJSON())}`),
      onReceiveMessage: (message) => void events.push(`message ${message.toString()}`),
      onReceiveStatus: ({ code, details }) => void events.push(`status ${code} ${details}`),
      cancel: (why, code, details) => {
        events.push(`failure ${why}`);
        direct.cancelWithStatus(code, details);
      },
    },
    clock,
  );
  const metadata = new Metadata();
  const started = direct.start({} as never, '/testing.v1.Echo/Unary', deadline, metadata);
  const receive = {
    headers: (encoding?: string) => {
      const received = new Metadata();
      if (encoding !== undefined) received.set('grpc-encoding', encoding);
      received.set('grpc-accept-encoding', 'gzip');
      received.set('x-key', 'value');
      listener?.onReceiveMetadata(received);
    },
    message: (body: Buffer, flag = 0) => listener?.onReceiveMessage(body, flag === 1),
    status: (code: number, details = '') => listener?.onReceiveStatus({ code, details, metadata: new Metadata() }),
  };
  return {
    clock,
    did,
    frames,
    call,
    events,
    direct,
    metadata,
    started,
    receive,
    callEnds,
    pickEnds,
    headers,
  };
}

describe('DirectCall', () => {
  it('adds the headers of grpc-js’s channel to a copy of the metadata of a call', () => {
    const { headers, metadata } = make();
    expect(headers?.toJSON()).toEqual({
      'grpc-accept-encoding': ['identity,deflate,gzip'],
      'accept-encoding': ['identity'],
    });
    expect(metadata.toJSON()).toEqual({});
  });

  it('does not send a call if the load-balancing policy picks no connection', () => {
    expect(make({ picks: false }).started).toBe(false);
  });

  it.each([-1, 0])('does not send a call at or after its deadline (%i ms left)', (leftMs) => {
    const { started, headers } = make({ deadline: new VirtualClock().epoch() + leftMs });
    expect([started, headers]).toEqual([false, undefined]);
  });

  it('fails a call with RESOURCE_EXHAUSTED if a request message exceeds the maximum send size', () => {
    const { direct, did, events, frames } = make({ limits: { maxSendBytes: 2, maxReceiveBytes: -1 } });
    direct.sendMessageWithContext({}, Buffer.from('abc'));
    expect(events).toEqual(['failure protocol']);
    expect(did).toEqual(['cancel 8 Attempted to send message with a size larger than 2']);
    expect(frames).toEqual([]);
  });

  it('removes the encoding headers of a response and the header of each message', () => {
    const { events, receive } = make();
    receive.headers('identity');
    receive.message(Buffer.from('hello'));
    receive.status(0);
    expect(events).toEqual(['headers {"x-key":["value"]}', 'message hello', 'status 0 ']);
  });

  it.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
  ] as const)('inflates a %s response message before reporting the status that follows', async (encoding, deflate) => {
    const { events, receive } = make();
    receive.headers(encoding);
    receive.message(deflate('hello'), 1);
    receive.status(0);
    expect(events).toHaveLength(1);
    await waitFor(() => events.length === 3);
    expect(events.slice(1)).toEqual(['message hello', 'status 0 ']);
  });

  it('drops a response message that is being inflated when the call is cancelled', async () => {
    const { direct, events, receive } = make();
    receive.headers('gzip');
    receive.message(gzipSync('hello'), 1);
    receive.status(0);
    direct.cancelWithStatus(Status.CANCELLED, 'enough');
    await waitFor(() => events.length === 2);
    expect(events[1]).toBe('status 1 enough');
  });

  it('stops inflating a response message at the maximum receive size, and fails the call with RESOURCE_EXHAUSTED', async () => {
    const { did, events, receive } = make({ limits: { maxSendBytes: -1, maxReceiveBytes: 1_000 } });
    receive.headers('gzip');
    receive.message(gzipSync(Buffer.alloc(50_000_000)), 1);
    await waitFor(() => did.length === 1);
    expect(events.at(-1)).toBe('failure protocol');
    expect(did).toEqual(['cancel 8 Received message that decompresses to a size larger than 1000']);
  });

  it.each([
    ['gzip', 'cancel 13 Failed to decompress gzip-encoded message'],
    ['snappy', 'cancel 13 Compression method not supported: snappy'],
    [undefined, 'cancel 13 Received compressed message but "grpc-encoding" header was identity'],
  ])(
    'fails a call with INTERNAL if a response message cannot be inflated (encoding %s)',
    async (encoding, expected) => {
      const { did, receive } = make();
      receive.headers(encoding);
      receive.message(Buffer.from('not compressed'), 1);
      await waitFor(() => did.length === 1);
      expect(did).toEqual([expected]);
    },
  );

  it('fails a call at its deadline, and clears the deadline timer when a call ends', () => {
    const epoch = new VirtualClock().epoch();
    const late = make({ deadline: epoch + 1_500 });
    expect(late.headers?.get('grpc-timeout')).toEqual(['1500m']);
    late.clock.advance(1_499);
    expect(late.did).toEqual([]);
    late.clock.advance(1);
    expect(late.events).toEqual(['failure deadline']);
    expect(late.did).toEqual(['cancel 4 Deadline exceeded after 1.500s,remote_addr=127.0.0.1:50051']);
    const early = make({ deadline: epoch + 1_500 });
    early.receive.status(0);
    expect(early.clock.pending).toBe(0);
  });

  it('reports the end of the call to the channel and the load-balancing policy once', () => {
    const { direct, receive, callEnds, pickEnds, events } = make();
    receive.status(5, 'none');
    receive.status(13, 'again');
    direct.cancelWithStatus(1, 'late');
    expect([callEnds, pickEnds, events]).toEqual([[5], [5], ['status 5 none']]);
  });

  it('delivers the status of a call and notifies the channel even if the load-balancing policy throws', () => {
    const { receive, events, callEnds } = make({
      pickEnd: () => {
        throw new Error('invalid load report');
      },
    });
    expect(() => receive.status(0)).toThrow('invalid load report');
    expect([events, callEnds]).toEqual([['status 0 '], [0]]);
  });
});

describe('timeoutValue', () => {
  it.each([
    [-5, '0m'],
    [0.2, '1m'],
    [1_500, '1500m'],
    [99_999_999, '99999999m'],
    [99_999_999.5, '100000S'],
    [100_000_000, '100000S'],
    [99_999_999_500, '1666667M'],
    [1e11, '1666667M'],
    [1e16, '99999999H'],
  ])('formats a grpc-timeout of %d ms as %s', (ms, expected) => {
    expect(timeoutValue(ms)).toBe(expected);
  });
});
