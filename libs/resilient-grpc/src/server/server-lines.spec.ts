import { describe, expect, it } from 'vitest';
import type { EventBody } from '../call/event-hub.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import { EventLog } from '../telemetry/log/event-log.js';
import type { EventFields, LogSink } from '../telemetry/log/library-logger.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { SERVER_LINES } from './server-lines.js';

const path = '/orders.v1.Orders/Watch';

const LINES: readonly [EventBody<GrpcServerEvent>, string | undefined][] = [
  [{ type: 'call-start', path, kind: 'unary' }, undefined],
  [{ type: 'drain', phase: 'begin', running: 3 }, undefined],
  [
    { type: 'connection-end', peer: 'a:1', reason: 'keepalive', protection: 'keepalive' },
    'debug connection-end: peer=a:1, reason=keepalive, protection=keepalive',
  ],
  [
    { type: 'handler-failed', path, error: new TypeError('x is not a function') },
    'error /orders.v1.Orders/Watch: handler failed: TypeError: x is not a function',
  ],
  [
    { type: 'handler-failed', path, error: { code: 5, message: 'no order 7' } },
    'error /orders.v1.Orders/Watch: handler failed: NOT_FOUND: no order 7',
  ],
  [
    { type: 'handler-leak', path, overMs: 61_000.4 },
    'warn /orders.v1.Orders/Watch: handler still running 61 s after the call ended; stop it with @CallSignal(), Observable teardown, or `finally`',
  ],
  [
    { type: 'responses-overflow', path, bytes: 9_000_000 },
    'warn /orders.v1.Orders/Watch: stream ended: its Observable was 9000000 bytes ahead of the client; return an async generator, which is pulled as the client reads',
  ],
  [
    { type: 'responses-burst', path, messages: 12_000 },
    'warn /orders.v1.Orders/Watch: an Observable emitted 12000 responses at once, all buffered in memory; return an async generator, which is pulled as the client reads',
  ],
  [
    { type: 'extra-response', path },
    'warn /orders.v1.Orders/Watch: unary handler emitted another value after its response; the value was dropped; emit only one value',
  ],
  [
    { type: 'trailers-omitted', path },
    'warn /orders.v1.Orders/Watch: a part of a status was not sent: HTTP/2 or gRPC forbids some of its trailers, or it exceeds the limit of the client (8 KiB if it announces none); remove or shorten its trailers and its message',
  ],
  [
    { type: 'request-unreadable', path, error: new RangeError('index out of range: 11 + 1 > 11'), code: 13 },
    'warn /orders.v1.Orders/Watch: a request cannot be deserialized: index out of range: 11 + 1 > 11; the caller received INTERNAL; compare the .proto files of the client and this server',
  ],
  [
    { type: 'request-unreadable', path, error: 'Received message larger than max (5000005 vs 4194304)', code: 8 },
    'warn /orders.v1.Orders/Watch: a request was refused: Received message larger than max (5000005 vs 4194304); the caller received RESOURCE_EXHAUSTED; raise maxReceiveMessageLength of this server, or have the client send less at once',
  ],
  [
    { type: 'certificate-expiry', expiresAt: '2001-09-09T01:46:40.000Z', isExpired: true },
    'warn the TLS certificate expired on 2001-09-09T01:46:40.000Z: clients do not connect; renew it',
  ],
  [
    { type: 'certificate-expiry', expiresAt: '2001-09-09T01:46:40.000Z', isExpired: false },
    'warn the TLS certificate expires on 2001-09-09T01:46:40.000Z, and clients do not connect from then on; renew it',
  ],
  [
    { type: 'process-paused', pausedMs: 6_012 },
    'warn this process did not run for 6 s, and all calls waited: a handler blocked the event loop, or the process was stopped; to find the handler, run node with --cpu-prof',
  ],
  [
    { type: 'memory-limit', consequence: 'refused', protection: 'memory-refused' },
    'warn new calls are refused (UNAVAILABLE): the memory for connections is used up; give this process more memory or heap, or find out who has so many calls open, by activeStreams()',
  ],
  [
    { type: 'stream-idle', path, peer: '10.0.0.7:4711', idleMs: 30_000 },
    'log /orders.v1.Orders/Watch: stream from 10.0.0.7:4711 ended: no message for 30 s (maxStreamIdleMs)',
  ],
  [
    { type: 'overload', phase: 'begin', queued: 1 },
    'warn server overloaded: 1 unary call waiting for a handler; calls that cannot be served in time are refused (RESOURCE_EXHAUSTED); see node_modules/nestjs-resilient-grpc/docs/guides/overload.md',
  ],
  [
    { type: 'overload', phase: 'begin', queued: 35, limit: { path, maxConcurrent: 16, maxQueued: 20 } },
    'warn server overloaded: maxConcurrentCalls of /orders.v1.Orders/Watch (16) reached, 35 unary calls waiting for a handler; calls beyond maxConcurrentCalls.queue (20) and calls that cannot be served in time are refused (RESOURCE_EXHAUSTED); see node_modules/nestjs-resilient-grpc/docs/guides/overload.md',
  ],
  [
    { type: 'overload', phase: 'begin', queued: 35, limit: { path: undefined, maxConcurrent: 200, maxQueued: 1_000 } },
    'warn server overloaded: maxConcurrentCalls (200) reached, 35 unary calls waiting for a handler; calls beyond maxConcurrentCalls.queue (1000) and calls that cannot be served in time are refused (RESOURCE_EXHAUSTED); see node_modules/nestjs-resilient-grpc/docs/guides/overload.md',
  ],
  [{ type: 'overload', phase: 'end', shed: 1, durationMs: 2_500 }, 'log overload ended after 2.5 s: 1 call refused'],
  [
    { type: 'handshake-failed', reason: 'client-certificate-expired', code: 'CERT_HAS_EXPIRED', peer: '10.0.0.7:1' },
    'warn connection from 10.0.0.7:1 rejected in the TLS handshake: the certificate of the client, or of its authority, has expired (CERT_HAS_EXPIRED); renew the certificate, and make sure that the client reads the new certificate (tls: { reload: true })',
  ],
  [
    { type: 'handshake-failed', reason: 'no-tls', code: 'ERR_SSL_HTTP_REQUEST', peer: 'unknown' },
    'warn connection rejected in the TLS handshake: the client does not use TLS (ERR_SSL_HTTP_REQUEST); set tls: {} in the client, or enable TLS, and turn off the PROXY protocol, in the health check or proxy that connected',
  ],
  [
    { type: 'tls-reload', problem: 'a file cannot be read', isInUse: true },
    'warn new TLS files cannot be used: a file cannot be read; the old ones stay in use',
  ],
  [
    { type: 'tls-reload', problem: 'key: expected a PEM private key, got junk', isInUse: false },
    'warn new TLS files cannot be used: key: expected a PEM private key, got junk; connections are closed until they can be used',
  ],
  [
    { type: 'unsent-field', path, messageType: 'Order', field: 'request_id', suggestion: 'requestId' },
    "warn /orders.v1.Orders/Watch: the response contains 'request_id', but Order has no such field, so the value is not sent; did you mean 'requestId'? To use the names of the .proto file, set loader: { keepCase: true }",
  ],
  [
    { type: 'untested-version', installed: 'a', tested: 'b', missing: ['c'], lost: [] },
    'warn a lacks private names (c); calls continue; tested with b',
  ],
];

function make({ debug = true } = {}) {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const fields: EventFields[] = [];
  const write: LogSink['write'] = (level, text, own) => {
    lines.push(`${level} ${text}`);
    fields.push(own);
  };
  const log = new EventLog(SERVER_LINES, undefined, { write, isDebugEnabled: debug }, clock);
  const take = (body: EventBody<GrpcServerEvent>) => log.take({ at: clock.epoch(), ...body });
  return { clock, lines, fields, log, take };
}

describe('log line of a server event', () => {
  it.each(LINES)('has the expected level and text: %j', (event, line) => {
    const { lines, take } = make();
    take(event);
    expect(lines[0]).toBe(line);
  });

  it.each<[EventBody<GrpcServerEvent>, object]>([
    [
      { type: 'handler-leak', path, overMs: 61_000.4 },
      { path, overMs: 61_000 },
    ],
    [
      { type: 'stream-idle', path, peer: 'a', idleMs: 30_000 },
      { path, peer: 'a', idleMs: 30_000 },
    ],
    [
      { type: 'overload', phase: 'begin', queued: 35, limit: { path, maxConcurrent: 16, maxQueued: 20 } },
      { phase: 'begin', queued: 35, limit: 16 },
    ],
    [
      { type: 'handler-failed', path, error: 'no' },
      { path, error: 'no' },
    ],
    [
      { type: 'request-unreadable', path, error: new RangeError('no'), code: 13 },
      { path, error: 'no', code: 'INTERNAL' },
    ],
  ])('has the properties of the event as fields: %j', (event, expected) => {
    const { fields, take } = make();
    take(event);
    expect(fields).toEqual([{ event: event.type, ...expected }]);
  });

  const unreadable = (key: 'name' | 'message' | 'stack'): Error =>
    Object.defineProperty(new Error('no table'), key, {
      get: () => {
        throw new Error('not readable');
      },
    });
  const hiding = new Proxy(
    {},
    {
      has: () => {
        throw new Error('not readable');
      },
    },
  );

  it.each<[what: string, type: 'handler-failed' | 'request-unreadable', error: unknown, text: RegExp]>([
    ['a handler error whose name', 'handler-failed', unreadable('name'), /an error whose message cannot be read$/],
    [
      'a handler error whose message',
      'handler-failed',
      unreadable('message'),
      /an error whose message cannot be read$/,
    ],
    ['a handler error whose stack', 'handler-failed', unreadable('stack'), /handler failed: Error: no table$/],
    ['a thrown proxy whose message', 'handler-failed', hiding, /an error whose message cannot be read$/],
    [
      'a request error whose message',
      'request-unreadable',
      unreadable('message'),
      /cannot be deserialized: an error whose message cannot be read; the caller received INTERNAL/,
    ],
  ])('logs %s cannot be read', (_what, type, error, text) => {
    const { lines, fields, take } = make();
    take(type === 'handler-failed' ? { type, path, error } : { type, path, error, code: 13 });
    expect(lines).toEqual([expect.stringMatching(text)]);
    expect(fields[0]?.['stack']).toBeUndefined();
  });

  it('logs each cause of handler failures of a method immediately, and its repeats once a minute', () => {
    const { clock, lines, take } = make();
    const causes = ['Error: no table', 'TypeError: no table', 'NOT_FOUND: no order'];
    const errors = [new Error('no table'), new TypeError('no table'), { code: 5, message: 'no order' }];
    for (let i = 0; i < 3; i++) for (const error of errors) take({ type: 'handler-failed', path, error });
    expect(lines).toEqual(causes.map((cause) => `error ${path}: handler failed: ${cause}`));
    clock.advance(60_000);
    expect(lines.slice(3)).toEqual(
      causes.map(
        (cause) => `error ${path}: handler failed: ${cause} (1 more in the last minute, the last one 60 s ago)`,
      ),
    );
  });

  it('treats messages of handler failures that differ only in IDs as one cause', () => {
    const { lines, take } = make();
    for (let i = 0; i < 100; i++) {
      const id = `3f2a${String(i)}b1-77aa-4c1e-9d10-0a5b6c7d8e9f`;
      take({ type: 'handler-failed', path, error: new Error(`order ${id} of customer ${String(i)} is locked`) });
    }
    expect(lines).toHaveLength(1);
  });

  it('combines the causes of handler failures beyond 20 a minute into one line', () => {
    const { clock, lines, fields, take } = make();
    const letters = 'abcdefghijklmnopqrstuvwxyz'.split('');
    for (const name of letters.flatMap((one) => [`${one}a`, `${one}b`]))
      take({ type: 'handler-failed', path, error: new Error(`no ${name}`) });
    expect(lines).toHaveLength(20);
    clock.advance(60_000);
    expect(lines.slice(20)).toEqual([
      expect.stringMatching(
        /^error \S+: handler failed: Error: no zb \(31 more in the last minute, .*, and 11 more\)$/,
      ),
    ]);
    expect(lines[20]).toContain(`ago: ${path} (Error: no za), ${path} (Error: no yb), `);
    expect(fields[20]?.['stack']).toMatch(/^Error: no zb\n {4}at /);
  });

  it('reads the stack of an error only when the log line is written', () => {
    const { clock, take } = make();
    const error = new Error('no table');
    let read = 0;
    Object.defineProperty(error, 'stack', {
      get: () => {
        read += 1;
        return 'Error: no table';
      },
    });
    take({ type: 'handler-failed', path, error });
    const readOnce = read;
    for (let i = 0; i < 1_000; i++) take({ type: 'handler-failed', path, error });
    expect(read).toBe(readOnce);
    clock.advance(60_000);
    expect(read).toBeLessThanOrEqual(2 * readOnce);
  });

  it('logs a failed TLS handshake at most once a minute per reason', () => {
    const { clock, lines, take } = make();
    for (let i = 0; i < 1_000; i++) {
      const expired = { reason: 'client-certificate-expired', code: 'CERT_HAS_EXPIRED' } as const;
      take({ type: 'handshake-failed', ...expired, peer: `10.0.0.7:${String(i)}` });
      take({ type: 'handshake-failed', reason: 'no-tls', code: 'ERR_SSL_HTTP_REQUEST', peer: 'unknown' });
    }
    expect(lines).toHaveLength(2);
    clock.advance(60_000);
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(
      /^warn connection from 10\.0\.0\.7:999 .*\(998 more in the last minute, the last one 60 s ago\)$/,
    );
  });

  it('escapes and truncates client input in logged errors', () => {
    const { lines, fields, take } = make();
    const sent = `${'a-'.repeat(40_000)}\n[Nest] 1 LOG forged\u001b[31m`;
    take({ type: 'handler-failed', path, error: new Error(`no such name: ${sent}`) });
    const { error, stack } = fields[0]!;
    for (const text of [lines[0], error, stack]) expect(String(text)).not.toMatch(/\u001b|^\[Nest\]/m);
    expect(String(stack)).toMatch(/^Error: no such name: a-.*…\n {4}at /);
    expect(String(stack).length).toBeLessThan(5_000);
  });

  it.each([
    ['undefined', undefined, 'nothing'],
    ['null', null, 'null'],
    ['a string with its line break escaped', 'a\nFAKE', 'a\\u000aFAKE'],
    ['an object by its keys only', { token: 'hush' }, 'an object with token'],
    [
      'the object inside an RpcException whose code is invalid, with a remedy',
      { code: 404, message: 'no order 7' },
      'no order 7 (404 is not a gRPC error code; write a code from 1 to 16, such as status.NOT_FOUND)',
    ],
    [
      'the object inside an RpcException whose code is a name, with a remedy',
      { code: 'NOT_FOUND', message: 'no order 7' },
      'no order 7 ("NOT_FOUND" is not a gRPC error code; write a code from 1 to 16, such as status.NOT_FOUND)',
    ],
    [
      'the object inside an RpcException whose code has another name, with a remedy',
      { statusCode: 404, message: 'no order 7' },
      'an object with statusCode, message (gRPC sends only `code`; write { code: status.NOT_FOUND, message })',
    ],
    [
      'the object inside a GrpcException, with the name of its code',
      { code: 5, message: 'no order 7', details: 'no order 7' },
      'NOT_FOUND: no order 7',
    ],
  ])('logs a handler failure that is not an Error object: %s', (_what, error, shown) => {
    const { lines, take } = make();
    take({ type: 'handler-failed', path, error });
    expect(lines).toEqual([`error ${path}: handler failed: ${shown}`]);
  });

  it('truncates a long error message in a log line', () => {
    const { lines, take } = make();
    take({ type: 'handler-failed', path, error: new Error('x'.repeat(100_000)) });
    expect(lines[0]!.length).toBeLessThan(500);
  });

  it('masks secrets in the message and the stack of a logged error', () => {
    const { lines, fields, take } = make();
    take({ type: 'handler-failed', path, error: new Error('401 for Bearer abc.def-ghi, authorization=hush') });
    const shown = JSON.stringify([lines, fields]);
    expect(shown).not.toContain('abc.def');
    expect(shown).not.toContain('hush');
    expect(shown).toContain('401 for Bearer ***');
  });

  it('builds no debug line of the server log if the debug level is off', () => {
    const { lines, take } = make({ debug: false });
    take({ type: 'connection-end', peer: 'a', reason: 'age', protection: 'age' });
    expect(lines).toEqual([]);
  });
});
