import { EventEmitter } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { GrpcInboundCall, serverCallOf } from './grpc-inbound-call.js';
import { HttpInboundCall } from './http-inbound-call.js';
import { InboundWatch } from './inbound-watch.js';

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

describe('an HTTP request', () => {
  const http = (headers: Record<string, string | string[]> = {}, response = new Response()) =>
    new HttpInboundCall({ headers }, response, clock);

  it('has the deadline that a grpc-timeout names', () => {
    expect(http({ 'grpc-timeout': '250m' }).deadline?.getTime()).toBe(clock.epoch() + 250);
    expect(http({ 'grpc-timeout': '99999999H' }).deadline).toBeUndefined();
    expect(http({ 'grpc-timeout': 'soon' }).deadline).toBeUndefined();
    expect(http().deadline).toBeUndefined();
  });

  it('has its headers, several values as one', () => {
    const call = http({ 'x-one': 'a', 'set-cookie': ['a', 'b'] });
    expect([call.get('X-One'), call.get('set-cookie'), call.get('x-none')]).toEqual(['a', 'a, b', undefined]);
  });

  it('is cancelled when its client goes away before the response ended', () => {
    const response = new Response();
    const { signal } = http({}, response);
    expect(signal.aborted).toBe(false);
    response.emit('close');
    expect(signal.aborted).toBe(true);
    expect(String(signal.reason)).toContain('went away');
  });

  it('is not cancelled after its response', () => {
    const response = new Response();
    const { signal } = http({}, response);
    response.writableEnded = true;
    response.emit('close');
    expect(signal.aborted).toBe(false);
  });

  it('is cancelled where its client had gone before anybody asked', () => {
    const response = new Response();
    const call = http({}, response);
    response.destroyed = true;
    expect(call.signal.aborted).toBe(true);
    expect(response.listenerCount('close')).toBe(0);
  });
});

describe('a gRPC call', () => {
  it.each([
    [Infinity, undefined],
    [7_000, 7_000],
    [new Date(8_000), 8_000],
  ])('has the deadline of its caller: %s', (deadline, expected) => {
    const call = new ServerCall();
    call.deadline = deadline;
    expect(new GrpcInboundCall(call, clock).deadline?.getTime()).toBe(expected);
  });

  it('is a retry by what it says of itself', () => {
    const retry = (key: string, value: string) => {
      const call = new ServerCall();
      call.metadata.set(key, value);
      return new GrpcInboundCall(call, clock).retry;
    };
    expect(retry('grpc-previous-rpc-attempts', '2')).toBe(true);
    expect(retry('x-retry-chain', '1')).toBe(true);
    expect(retry('x-retry-chain', 'hedge')).toBe(false);
    expect(retry('x-other', '1')).toBe(false);
  });

  it('has its metadata, binary ones as base64', () => {
    const call = new ServerCall();
    call.metadata.add('x-a', '1');
    call.metadata.add('x-a', '2');
    call.metadata.set('x-b-bin', Buffer.from([1, 2, 3]));
    const inbound = new GrpcInboundCall(call, clock);
    expect([inbound.get('x-a'), inbound.get('x-b-bin'), inbound.get('x-c')]).toEqual(['1, 2', 'AQID', undefined]);
  });

  it.each<[string, ServerCall, (call: ServerCall, inbound: GrpcInboundCall) => void, boolean]>([
    ['by its caller', new ServerCall(), () => undefined, true],
    ['not by the end of an answered one', new ServerCall(), (_, inbound) => inbound.end(), false],
    ['a stream by its caller', new ServerStream(), () => undefined, true],
    ['not a stream that this side ended', new ServerStream(), (call) => (call.writableEnded = true), false],
  ])('is cancelled %s', (_, call, before, aborted) => {
    const inbound = new GrpcInboundCall(call, clock);
    const { signal } = inbound;
    expect(inbound.signal).toBe(signal);
    before(call, inbound);
    call.emit('cancelled');
    expect(signal.aborted).toBe(aborted);
    expect(inbound.streaming).toBe(call instanceof ServerStream);
  });

  it('is cancelled where that had happened before anybody asked', () => {
    const call = new ServerCall();
    const inbound = new GrpcInboundCall(call, clock);
    call.cancelled = true;
    expect(inbound.signal.aborted).toBe(true);
  });

  it('is found among the arguments of any kind of handler', () => {
    const call = new ServerCall();
    expect(serverCallOf([{}, call.metadata, call])).toEqual({ call, ownStream: false });
    expect(serverCallOf([call, () => undefined])).toEqual({ call, ownStream: true });
    expect(serverCallOf([{}, { topic: 'kafka' }])).toBeUndefined();
    expect(serverCallOf([])).toBeUndefined();
  });
});

describe('a propagation that finds nothing', () => {
  it('is told once, after 100 calls', () => {
    const lines: string[] = [];
    const watch = new InboundWatch((line) => lines.push(line));
    for (let n = 0; n < 99; n++) watch.note(false);
    expect(lines).toEqual([]);
    for (let n = 0; n < 200; n++) watch.note(false);
    expect(lines).toEqual([expect.stringContaining('inheritAppConfig: true')]);
  });

  it('is not told where one call found something', () => {
    const lines: string[] = [];
    const watch = new InboundWatch((line) => lines.push(line));
    watch.note(false);
    watch.note(true);
    for (let n = 0; n < 200; n++) watch.note(false);
    expect(lines).toEqual([]);
  });
});
