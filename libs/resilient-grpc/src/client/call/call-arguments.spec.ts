import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { NO_METADATA } from '../../channel/attempt/call-metadata.js';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import type { MethodContext } from '../call-context.js';
import type { GrpcCallOptions } from '../resilient-types.js';
import { callArguments, callDeadline, callMetadata } from './call-arguments.js';

const NOW = Date.UTC(2026, 0, 1);

function metadataOf(entries: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(entries)) metadata.set(key, value);
  return metadata;
}

function context(change: { readonly timeoutMs?: number; readonly metadata?: Metadata } = {}): MethodContext {
  const { timeoutMs, metadata } = change;
  return {
    client: { name: 'orders' },
    method: { path: '/orders.v1.Orders/Get' },
    policy: { timeoutMs },
    metadata: metadata ?? NO_METADATA,
    hasMetadata: metadata !== undefined,
  } as unknown as MethodContext;
}

describe('what comes after the request', () => {
  const metadata = new Metadata();
  const options: GrpcCallOptions = { timeoutMs: 5 };

  it.each([
    ['nothing', undefined, undefined, { metadata: undefined, options: undefined }],
    ['null, as Nest allows', null, undefined, { metadata: undefined, options: undefined }],
    ['metadata', metadata, undefined, { metadata, options: undefined }],
    ['metadata and options', metadata, options, { metadata, options }],
    ['null and options', null, options, { metadata: undefined, options }],
    ['options', options, undefined, { metadata: undefined, options }],
    ['options twice', options, { retry: false }, { metadata: undefined, options: { timeoutMs: 5, retry: false } }],
  ] as const)('may be %s', (_what, first, second, expected) => {
    expect(callArguments(first, second)).toEqual(expected);
  });

  it('may be metadata of another copy of grpc-js', () => {
    const foreign = { getMap: () => ({}) } as never;
    expect(callArguments(foreign, undefined).metadata).toBe(foreign);
  });
});

describe('metadata of a call', () => {
  const ofClient = metadataOf({ 'x-client': 'c' });

  it('are the client’s where the call has none, and nothing is copied', () => {
    expect(callMetadata(context({ metadata: ofClient }), callArguments(undefined, undefined))).toBe(ofClient);
  });

  it('are the argument as it is then where the client has none: who uses it again changes another call', () => {
    const argument = metadataOf({ 'x-argument': 'a' });
    argument.setOptions({ waitForReady: true });
    const taken = callMetadata(context(), callArguments(argument, undefined));
    argument.set('x-argument', 'b');
    expect(taken.getMap()).toEqual({ 'x-argument': 'a' });
    expect(taken.getOptions()).toEqual({ waitForReady: true });
  });

  it('are joined otherwise, and what they are made of stays as it was', () => {
    const argument = metadataOf({ 'x-argument': 'a' });
    argument.setOptions({ waitForReady: true });
    const joined = callMetadata(
      context({ metadata: ofClient }),
      callArguments(argument, {
        metadata: { 'x-option': ['1', '2'], 'x-none': undefined, 'x-raw-bin': Buffer.from('b') },
      }),
    );
    expect(joined.toJSON()).toEqual({
      'x-client': ['c'],
      'x-argument': ['a'],
      'x-option': ['1', '2'],
      'x-raw-bin': [Buffer.from('b')],
    });
    expect(joined.getOptions()).toEqual({ waitForReady: true });
    expect(ofClient.toJSON()).toEqual({ 'x-client': ['c'] });
    expect(argument.toJSON()).toEqual({ 'x-argument': ['a'] });
  });

  it('that cannot be sent are told by key, all of them, and never by value', () => {
    const given = callArguments(
      { metadata: { 'not a key': 'geheim', 'x-token': 'geheim☕', 'x-fine': 'y' } },
      undefined,
    );
    let error: unknown;
    try {
      callMetadata(context(), given);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(GrpcConfigurationError);
    expect((error as GrpcConfigurationError).problems.map(({ path }) => path)).toEqual([
      'orders/orders.v1.Orders/Get: options.metadata["not a key"]',
      'orders/orders.v1.Orders/Get: options.metadata.x-token',
    ]);
    expect(String(error)).not.toContain('geheim');
  });
});

describe('the deadline of a call', () => {
  it.each<[string, number | undefined, GrpcCallOptions | undefined, number]>([
    ['none', undefined, undefined, Infinity],
    ['none, with options', undefined, {}, Infinity],
    ['the method’s', 500, undefined, NOW + 500],
    ['the method’s, with other options', 500, { retry: false }, NOW + 500],
    ['the length of the call', undefined, { timeoutMs: 300 }, NOW + 300],
    ['the instant of the call', undefined, { deadline: NOW + 200 }, NOW + 200],
    ['the instant of the call as a Date', undefined, { deadline: new Date(NOW + 200) }, NOW + 200],
    ['the least of all', 500, { timeoutMs: 300, deadline: NOW + 400 }, NOW + 300],
    ['the method’s where the call asks for more', 500, { timeoutMs: 3_000 }, NOW + 500],
    ['one that has passed', 500, { deadline: NOW - 1 }, NOW - 1],
    ['none where it is too far away to be told', undefined, { deadline: NOW * 1_000 }, Infinity],
    ['none where the length is', Number.MAX_SAFE_INTEGER, { timeoutMs: 1e20 }, Infinity],
  ])('is %s', (_what, timeoutMs, options, expected) => {
    const made = context(timeoutMs === undefined ? {} : { timeoutMs });
    expect(callDeadline(made, options, NOW)).toBe(expected);
  });

  it('is that of the inbound call where it is earlier, unless the flags leave it out', () => {
    const parent = { getDeadline: () => new Date(NOW + 100) } as never;
    expect(callDeadline(context({ timeoutMs: 500 }), { parent }, NOW)).toBe(NOW + 100);
    expect(callDeadline(context({ timeoutMs: 50 }), { parent }, NOW)).toBe(NOW + 50);
    expect(callDeadline(context(), { parent, propagate_flags: 1 }, NOW)).toBe(NOW + 100);
    expect(callDeadline(context(), { parent, propagate_flags: 8 }, NOW)).toBe(Infinity);
    const unbounded = { getDeadline: () => Infinity } as never;
    expect(callDeadline(context({ timeoutMs: 500 }), { parent: unbounded }, NOW)).toBe(NOW + 500);
  });

  it.each([
    [{ timeoutMs: NaN }, 'timeoutMs: expected a length in milliseconds above 0, got NaN; write timeoutMs: 500'],
    [{ timeoutMs: 0 }, 'timeoutMs: expected a length in milliseconds above 0, got 0; write timeoutMs: 500'],
    [{ timeoutMs: '500' }, 'timeoutMs: expected a length in milliseconds above 0, got "500"; write timeoutMs: 500'],
    [{ deadline: NaN }, 'deadline: expected a Date or milliseconds since 1970, got NaN; write '],
    [{ deadline: 500 }, 'got 500, which is a length'],
    [{ deadline: 'tomorrow' }, 'got the text "tomorrow"'],
  ])('given as %j is refused with what to write', (options, text) => {
    const make = () => callDeadline(context(), options as never, NOW);
    expect(make).toThrow(GrpcConfigurationError);
    expect(make).toThrow(text);
    expect(make).toThrow('orders/orders.v1.Orders/Get: options.');
  });
});
