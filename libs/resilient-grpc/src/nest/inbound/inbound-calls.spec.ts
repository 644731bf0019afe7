import { EventEmitter } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { GrpcInboundCall, serverCallOf } from './grpc-inbound-call.js';
import { HttpInboundCall } from './http-inbound-call.js';

const clock = new VirtualClock();

class Response extends EventEmitter {
  writableEnded = false;
  destroyed = false;
}
class ServerCall extends EventEmitter {
  cancelled = false;
  writableEnded?: boolean;
  readonly metadata = new Metadata();
  deadline: Date | number = Infinity;
  getDeadline(): Date | number {
    return this.deadline;
  }
}
class ServerStream extends ServerCall {
  write(): void {}
}

describe('HttpInboundCall', () => {
  const makeHttpCall = (headers: Record<string, string | string[]> = {}, response = new Response()) =>
    new HttpInboundCall({ headers }, response, clock);

  it('returns the headers of an inbound HTTP request and joins repeated values', () => {
    const call = makeHttpCall({ 'x-one': 'a', 'set-cookie': ['a', 'b'] });
    expect([call.get('X-One'), call.get('set-cookie'), call.get('x-none')]).toEqual(['a', 'a, b', undefined]);
  });

  it('returns an aborted signal if the HTTP client disconnected before the signal was read', () => {
    const response = new Response();
    const call = makeHttpCall({}, response);
    response.destroyed = true;
    expect(call.signal.aborted).toBe(true);
    expect(response.listenerCount('close')).toBe(0);
  });
});

describe('GrpcInboundCall', () => {
  it.each([
    [Infinity, undefined],
    [7_000, 7_000],
    [new Date(8_000), 8_000],
  ])('takes the deadline of an inbound gRPC call from the server call: %s', (deadline, expected) => {
    const call = new ServerCall();
    call.deadline = deadline;
    expect(new GrpcInboundCall(call, clock).deadline?.getTime()).toBe(expected);
  });

  it('detects a retry from the metadata of the inbound gRPC call', () => {
    const detectRetry = (key: string, value: string) => {
      const call = new ServerCall();
      call.metadata.set(key, value);
      return new GrpcInboundCall(call, clock).retry;
    };
    expect(detectRetry('grpc-previous-rpc-attempts', '2')).toBe(true);
    expect(detectRetry('x-retry-chain', '1')).toBe(true);
    expect(detectRetry('x-retry-chain', 'hedge')).toBe(false);
    expect(detectRetry('x-other', '1')).toBe(false);
  });

  it('returns the metadata of an inbound gRPC call and encodes binary values as base64', () => {
    const call = new ServerCall();
    call.metadata.add('x-a', '1');
    call.metadata.add('x-a', '2');
    call.metadata.set('x-b-bin', Buffer.from([1, 2, 3]));
    const inbound = new GrpcInboundCall(call, clock);
    expect([inbound.get('x-a'), inbound.get('x-b-bin'), inbound.get('x-c')]).toEqual(['1, 2', 'AQID', undefined]);
  });

  it.each<[string, ServerCall, (call: ServerCall, inbound: GrpcInboundCall) => void, boolean]>([
    ['aborts the signal of an inbound unary call if the caller cancels', new ServerCall(), () => undefined, true],
    [
      'does not abort the signal of an inbound unary call after its end',
      new ServerCall(),
      (_, inbound) => inbound.end(),
      false,
    ],
    ['aborts the signal of an inbound stream if the caller cancels', new ServerStream(), () => undefined, true],
    [
      'does not abort the signal of an inbound stream that the server has ended',
      new ServerStream(),
      (call) => (call.writableEnded = true),
      false,
    ],
  ])('%s', (_, call, before, aborted) => {
    const inbound = new GrpcInboundCall(call, clock);
    const { signal } = inbound;
    expect(inbound.signal).toBe(signal);
    before(call, inbound);
    call.emit('cancelled');
    expect(signal.aborted).toBe(aborted);
    expect(inbound.streaming).toBe(call instanceof ServerStream);
  });

  it('returns an aborted signal if the inbound gRPC call was cancelled before the signal was read', () => {
    const call = new ServerCall();
    const inbound = new GrpcInboundCall(call, clock);
    call.cancelled = true;
    expect(inbound.signal.aborted).toBe(true);
  });

  it('finds the server call among the arguments of any kind of handler', () => {
    const call = new ServerCall();
    expect(serverCallOf([{}, call.metadata, call])).toEqual({ call, isStreamHandler: false });
    expect(serverCallOf([call, () => undefined])).toEqual({ call, isStreamHandler: true });
    expect(serverCallOf([{}, { topic: 'kafka' }])).toBeUndefined();
    expect(serverCallOf([])).toBeUndefined();
  });
});
