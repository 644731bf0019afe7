import { describe, expect, it } from 'vitest';
import type { EventBody } from '../call/event-hub.js';
import { VirtualClock } from '../../spec-support/virtual-clock.js';
import type { GrpcServerEvent, HandshakeFailureReason } from '../call/server-event.js';
import type { LogLevel, LogLine } from '../telemetry/log/log-line.js';
import { ServerLog } from './server-log.js';

const path = '/orders.v1.Orders/Watch';

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const stacks: unknown[] = [];
  const enabled = { debug: true };
  const sink = {
    debug: (line: LogLine) => lines.push(`debug ${String(line)}`),
    log: (line: LogLine) => lines.push(`log ${String(line)}`),
    warn: (line: LogLine) => lines.push(`warn ${String(line)}`),
    error: (line: LogLine) => {
      lines.push(`error ${String(line)}`);
      stacks.push(line.fields['stack']);
    },
  };
  const kept: LogLine[] = [];
  const keeping = (level: LogLevel) => (line: LogLine) => {
    kept.push(line);
    sink[level](line);
  };
  const all = { debug: keeping('debug'), log: keeping('log'), warn: keeping('warn'), error: keeping('error') };
  const log = new ServerLog(all, clock, () => enabled.debug);
  const take = (body: EventBody<GrpcServerEvent>) => log.take({ at: clock.epoch(), ...body });
  return { clock, lines, kept, enabled, stacks, log, take };
}

describe('ServerLog', () => {
  it.each<[what: string, event: EventBody<GrpcServerEvent>, line: RegExp]>([
    [
      'a handler that outlives its call',
      { type: 'handler-leak', path, overMs: 61_000 },
      /^warn \/orders.*handler still running 61 s after/,
    ],
    [
      'an Observable that outruns its client',
      { type: 'responses-overflow', path, bytes: 9_000_000 },
      /^warn .*9000000 bytes ahead of the client.*async generator/,
    ],
    [
      'an Observable that emits in one burst',
      { type: 'responses-burst', path, messages: 12_000 },
      /^warn .*12000 responses at once.*async generator/,
    ],
    [
      'a second response',
      { type: 'extra-response', path },
      /^warn .*unary handler emitted another value after its response; the value was dropped; emit only one value/,
    ],
    [
      'omitted trailers',
      { type: 'trailers-omitted', path },
      /^warn .*trailers were omitted: HTTP\/2 or gRPC forbids some of them, or they and the status message exceed 60 KiB; remove or shorten them/,
    ],
    [
      'a request that cannot be deserialized',
      { type: 'request-unreadable', path, error: new RangeError('index out of range: 11 + 1 > 11') },
      /^warn .*: a request cannot be deserialized: index out of range: 11 \+ 1 > 11; the caller received INTERNAL; compare the \.proto files of the client and this server/,
    ],
    [
      'an idle stream',
      { type: 'stream-idle', path, peer: '10.0.0.7:4711', idleMs: 30_000 },
      /^log .*stream from 10\.0\.0\.7:4711 ended: no message for 30 s \(streamIdleTimeoutMs\)/,
    ],
    [
      'a peer that does not answer a ping',
      { type: 'connection-end', peer: '10.0.0.7:4711', reason: 'keepalive' },
      /^debug connection from 10\.0\.0\.7:4711 ended: keepalive ping not answered/,
    ],
    [
      'a connection that reached its maximum age',
      { type: 'connection-end', peer: 'a', reason: 'age' },
      /^debug .*connections\.maxAgeMs/,
    ],
    [
      'the start of an overload caused by handlers that use the CPU',
      { type: 'overload', phase: 'begin', queued: 1 },
      /^warn server overloaded: 1 unary call waiting for a handler; calls that cannot be served in time are refused \(RESOURCE_EXHAUSTED\)/,
    ],
    [
      'the start of an overload caused by the concurrency limit of a method',
      { type: 'overload', phase: 'begin', queued: 35, limit: { path, maxConcurrent: 16, maxQueued: 20 } },
      /^warn server overloaded: maxConcurrentCalls of \/orders\.v1\.Orders\/Watch \(16\) reached, 35 unary calls waiting for a handler; calls beyond maxQueuedCalls \(20\) and calls that cannot be served in time are refused /,
    ],
    [
      'the start of an overload caused by the concurrency limit of the server',
      {
        type: 'overload',
        phase: 'begin',
        queued: 35,
        limit: { path: undefined, maxConcurrent: 200, maxQueued: 1_000 },
      },
      /^warn server overloaded: maxConcurrentCalls \(200\) reached, 35 unary calls waiting for a handler; /,
    ],
    [
      'an unexpected error of a handler',
      { type: 'handler-failed', path, error: new TypeError('x is not a function') },
      /^error .*handler failed: TypeError: x is not a function/,
    ],
  ])('logs %s', (_what, event, line) => {
    const { lines, take } = make();
    take(event);
    expect(lines).toEqual([expect.stringMatching(line)]);
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
    const { lines, stacks, take } = make();
    take({ type, path, error });
    expect(lines).toEqual([expect.stringMatching(text)]);
    expect(stacks.join('')).toBe('');
  });

  it('writes no log line about a call or the start of a server drain', () => {
    const { lines, take, log } = make();
    take({ type: 'call-start', path, kind: 'unary' });
    take({ type: 'call-end', path, kind: 'unary', end: { code: 13, peer: 'a', durationMs: 1, sent: 0, received: 1 } });
    take({ type: 'drain', phase: 'begin', running: 3 });
    log.close();
    expect(lines).toEqual([]);
  });

  it.each<[EventBody<GrpcServerEvent>, string]>([
    [{ type: 'handler-failed', path, error: new Error('no table') }, 'error'],
    [{ type: 'handler-leak', path, overMs: 60_000 }, 'warn'],
    [{ type: 'stream-idle', path, peer: 'a', idleMs: 5 }, 'log'],
  ])('logs %j at most once a minute, with the number of repeats', (event, level) => {
    const { clock, lines, take } = make();
    for (let i = 0; i < 1_000; i++) take(event);
    expect(lines).toHaveLength(1);
    clock.advance(60_000);
    expect(lines).toHaveLength(2);
    expect(lines[1]).toMatch(new RegExp(`^${level} .*\\(999 more in the last minute, the last one 60 s ago\\)$`));
    take(event);
    expect(lines).toHaveLength(2);
    clock.advance(60_000);
    expect(lines[2]).toMatch(/\(1 more in the last minute, the last one 60 s ago\)$/);
    // After a minute without repeats, the next event is logged immediately.
    clock.advance(60_000);
    take(event);
    expect(lines).toHaveLength(4);
  });

  it('logs the age of the latest repeat if the server closes before the minute has passed', () => {
    const { clock, lines, log, take } = make();
    for (let i = 0; i < 4; i++) take({ type: 'extra-response', path });
    clock.advance(40_000);
    log.close();
    expect(lines.at(-1)).toMatch(/\(3 more in the last minute, the last one 40 s ago\)$/);
  });

  it('limits repeated log lines separately for each method and event type', () => {
    const { lines, take } = make();
    take({ type: 'extra-response', path });
    take({ type: 'handler-leak', path, overMs: 60_000 });
    take({ type: 'extra-response', path: '/orders.v1.Orders/Get' });
    expect(lines).toHaveLength(3);
  });

  it('logs the stack of an error once if the error repeats within a minute', () => {
    const { clock, stacks, take } = make();
    const error = new Error('no table');
    take({ type: 'handler-failed', path, error });
    take({ type: 'handler-failed', path, error });
    // Writes the line with the number of repeats.
    clock.advance(60_000);
    expect(stacks).toEqual([error.stack, undefined]);
  });

  it('logs the stack of the latest repeat if the message of the repeat differs from the last logged message of the same cause', () => {
    const { clock, kept, stacks, take } = make();
    const [first, second, third] = [new Error('no row 1'), new Error('no row 2'), new Error('no row 3')];
    for (const error of [first, second, third]) take({ type: 'handler-failed', path, error });
    clock.advance(60_000);
    expect(stacks).toEqual([first.stack, third.stack]);
    expect(kept[1]!.msg).toMatch(/handler failed: Error: no row 3 \(the latest of 2 more in the last minute/);
  });

  it('logs each cause of handler failures of a method immediately, and its repeats once a minute', () => {
    const { clock, lines, take } = make();
    const fail = (error: unknown) => {
      take({ type: 'handler-failed', path, error });
    };
    const others = ['u', 'v', 'w', 'x', 'y', 'z'];
    for (let i = 0; i < 3; i++) {
      fail(new Error('no table'));
      fail(new TypeError('no table'));
      fail(new Error('no row'));
      fail({ code: 5, message: 'no order' });
      for (const name of others) fail(new Error(`no ${name}`));
    }
    const causes = ['Error: no table', 'TypeError: no table', 'Error: no row', 'NOT_FOUND: no order'];
    causes.push(...others.map((name) => `Error: no ${name}`));
    expect(lines).toEqual(causes.map((cause) => `error ${path}: handler failed: ${cause}`));
    clock.advance(60_000);
    expect(lines.slice(10)).toEqual(
      causes.map(
        (cause) => `error ${path}: handler failed: ${cause} (2 more in the last minute, the last one 60 s ago)`,
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

  it('combines the causes of handler failures beyond 10 per method into one line, without effect on other methods', () => {
    const { clock, lines, stacks, take } = make();
    const names = 'abcdefghijklmnopqrstuvwxyz'.split('');
    for (const name of names) take({ type: 'handler-failed', path, error: new Error(`no ${name}`) });
    expect(lines).toHaveLength(11);
    take({ type: 'handler-failed', path: '/orders.v1.Orders/Get', error: new Error('no z') });
    expect(lines[11]).toBe('error /orders.v1.Orders/Get: handler failed: Error: no z');
    clock.advance(60_000);
    expect(lines.slice(12)).toEqual([
      `error ${path}: handler failed: Error: no z (the latest of 15 more in the last minute, the last one 60 s ago, including other causes)`,
    ]);
    expect(stacks[12]).toMatch(/^Error: no z\n {4}at /);
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

  it('logs a failed TLS handshake at most once a minute per reason, with the cause, the code, and a remedy', () => {
    const { clock, kept, lines, take } = make();
    const fail = (reason: HandshakeFailureReason, code: string, peer: string) => {
      take({ type: 'handshake-failed', reason, code, peer });
    };
    for (let i = 0; i < 1_000; i++) {
      fail('client-certificate-expired', 'CERT_HAS_EXPIRED', `10.0.0.7:${String(i)}`);
      fail('no-tls', 'ERR_SSL_HTTP_REQUEST', 'unknown');
    }
    expect(lines).toEqual([
      'warn connection from 10.0.0.7:0 rejected in the TLS handshake: the certificate of the client, or of its authority, has expired ' +
        '(CERT_HAS_EXPIRED); renew the certificate, and make sure that the client reads the new certificate (tls: { reload: true })',
      expect.stringMatching(/^warn connection rejected in the TLS handshake: the client does not use TLS /),
    ]);
    const reason = 'client-certificate-expired';
    const fields = { event: 'handshake-failed', peer: '10.0.0.7:0', reason, code: 'CERT_HAS_EXPIRED' };
    expect(kept[0]!.fields).toEqual(fields);
    clock.advance(60_000);
    expect(lines[2]).toMatch(
      /^warn connection from 10\.0\.0\.7:999 .*\(999 more in the last minute, the last one 60 s ago\)$/,
    );
    expect(lines).toHaveLength(4);
  });

  it('escapes and truncates client input in logged errors', () => {
    const { kept, take } = make();
    const sent = `${'a-'.repeat(40_000)}\n[Nest] 1 LOG forged\u001b[31m`;
    take({ type: 'handler-failed', path, error: new Error(`no such name: ${sent}`) });
    const { error, stack } = kept[0]!.fields;
    for (const text of [kept[0]!.msg, error, stack]) expect(String(text)).not.toMatch(/\u001b|^\[Nest\]/m);
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

  it.each([
    [
      'message',
      'the status message exceeds 60 KiB, so the caller received only its first 512 characters and no trailers; shorten the message',
    ],
    [
      'trailers',
      'trailers were omitted: HTTP/2 or gRPC forbids some of them, or they and the status message exceed 60 KiB; remove or shorten them',
    ],
  ] as const)('logs which part of a status the caller did not receive: %s', (omitted, note) => {
    const { kept, lines, take } = make();
    take({ type: 'handler-failed', path, error: { code: 5, message: 'no order 7' }, omitted });
    expect(lines).toEqual([`error ${path}: handler failed: NOT_FOUND: no order 7; ${note}`]);
    expect(kept[0]!.fields).toMatchObject({ error: 'NOT_FOUND: no order 7', omitted });
  });

  it('truncates a long error message in a log line', () => {
    const { lines, take } = make();
    take({ type: 'handler-failed', path, error: new Error('x'.repeat(100_000)) });
    expect(lines[0]!.length).toBeLessThan(500);
  });

  it.each<[EventBody<GrpcServerEvent>, object]>([
    [
      { type: 'handler-leak', path, overMs: 61_000.4 },
      { path, overMs: 61_000 },
    ],
    [
      { type: 'responses-overflow', path, bytes: 9 },
      { path, bytes: 9 },
    ],
    [
      { type: 'responses-burst', path, messages: 12 },
      { path, messages: 12 },
    ],
    [{ type: 'extra-response', path }, { path }],
    [
      { type: 'stream-idle', path, peer: 'a', idleMs: 5 },
      { path, peer: 'a', idleMs: 5 },
    ],
    [
      { type: 'connection-end', peer: 'a', reason: 'age' },
      { peer: 'a', reason: 'age' },
    ],
    [
      { type: 'handler-failed', path, error: 'no' },
      { path, error: 'no' },
    ],
  ])('attaches structured fields to the log line of %j', (event, fields) => {
    const { kept, take } = make();
    take(event);
    expect(kept.map((line) => line.fields)).toEqual([{ event: event.type, ...fields }]);
  });

  it('masks secrets in the message and the stack of a logged error', () => {
    const { kept, take } = make();
    take({ type: 'handler-failed', path, error: new Error('401 for Bearer abc.def-ghi, authorization=hush') });
    const shown = JSON.stringify(kept[0]);
    expect(shown).not.toContain('abc.def');
    expect(shown).not.toContain('hush');
    expect(shown).toContain('401 for Bearer ***');
  });

  it('builds no debug line of the server log if the debug level is off', () => {
    const { kept, enabled, take } = make();
    enabled.debug = false;
    take({ type: 'connection-end', peer: 'a', reason: 'age' });
    expect(kept).toEqual([]);
  });

  it('writes pending lines of the server log and clears all timers on close()', () => {
    const { clock, lines, log, take } = make();
    for (let i = 0; i < 3; i++) take({ type: 'extra-response', path });
    log.close();
    expect(lines).toHaveLength(2);
    clock.advance(120_000);
    expect(lines).toHaveLength(2);
  });
});
