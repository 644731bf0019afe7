import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { NO_METADATA } from '../../channel/wire/call-metadata.js';
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

describe('call arguments', () => {
  const metadata = new Metadata();
  const options: GrpcCallOptions = { timeoutMs: 5 };

  it.each([
    ['none', undefined, undefined, { metadata: undefined, options: undefined }],
    ['null, as Nest allows', null, undefined, { metadata: undefined, options: undefined }],
    ['metadata', metadata, undefined, { metadata, options: undefined }],
    ['metadata and options', metadata, options, { metadata, options }],
    ['null and options', null, options, { metadata: undefined, options }],
    ['options', options, undefined, { metadata: undefined, options }],
    [
      'options twice, merged',
      options,
      { retry: false },
      { metadata: undefined, options: { timeoutMs: 5, retry: false } },
    ],
  ] as const)('reads the call arguments after the request: %s', (_what, first, second, expected) => {
    expect(callArguments(first, second)).toEqual(expected);
  });

  it('accepts call metadata that another copy of grpc-js created', () => {
    const foreign = { getMap: () => ({}) } as never;
    expect(callArguments(foreign, undefined).metadata).toBe(foreign);
  });
});

describe('call metadata', () => {
  const clientMetadata = metadataOf({ 'x-client': 'c' });

  it("returns the client's metadata itself, not a copy, if the call has no metadata", () => {
    expect(callMetadata(context({ metadata: clientMetadata }), callArguments(undefined, undefined))).toBe(
      clientMetadata,
    );
  });

  it('copies the metadata argument, so that later changes do not affect the call', () => {
    const argument = metadataOf({ 'x-argument': 'a' });
    argument.setOptions({ waitForReady: true });
    const taken = callMetadata(context(), callArguments(argument, undefined));
    argument.set('x-argument', 'b');
    expect(taken.getMap()).toEqual({ 'x-argument': 'a' });
    expect(taken.getOptions()).toEqual({ waitForReady: true });
  });

  it('merges metadata of the client, the argument, and the options without changing them', () => {
    const argument = metadataOf({ 'x-argument': 'a' });
    argument.setOptions({ waitForReady: true });
    const joined = callMetadata(
      context({ metadata: clientMetadata }),
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
    expect(clientMetadata.toJSON()).toEqual({ 'x-client': ['c'] });
    expect(argument.toJSON()).toEqual({ 'x-argument': ['a'] });
  });

  it('reports all invalid metadata by key, never by value', () => {
    const given = callArguments({ metadata: { 'not a key': 'hush', 'x-token': 'hush☕', 'x-fine': 'y' } }, undefined);
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
    expect(String(error)).not.toContain('hush');
  });
});

describe('call deadline', () => {
  it.each<[string, number | undefined, GrpcCallOptions | undefined, number]>([
    ['no deadline without a timeout or options', undefined, undefined, Infinity],
    ['no deadline with empty options', undefined, {}, Infinity],
    ['the timeout of the method', 500, undefined, NOW + 500],
    ['the timeout of the method with other options', 500, { retry: false }, NOW + 500],
    ['the timeout of the call', undefined, { timeoutMs: 300 }, NOW + 300],
    ['the deadline of the call', undefined, { deadline: NOW + 200 }, NOW + 200],
    ['the deadline of the call as a Date', undefined, { deadline: new Date(NOW + 200) }, NOW + 200],
    ['the earliest deadline of all', 500, { timeoutMs: 300, deadline: NOW + 400 }, NOW + 300],
    ['the timeout of the method if that of the call is longer', 500, { timeoutMs: 3_000 }, NOW + 500],
    ['a deadline that has passed', 500, { deadline: NOW - 1 }, NOW - 1],
    ['no deadline if `deadline` is too far away to be sent', undefined, { deadline: NOW * 1_000 }, Infinity],
    ['no deadline if the timeouts are too long to be sent', Number.MAX_SAFE_INTEGER, { timeoutMs: 1e20 }, Infinity],
  ])('computes the deadline of a call: %s', (_what, timeoutMs, options, expected) => {
    const made = context(timeoutMs === undefined ? {} : { timeoutMs });
    expect(callDeadline(made, options, NOW)).toBe(expected);
  });

  it('uses the deadline of `parent` if it is earlier, unless `propagate_flags` excludes it', () => {
    const parent = { getDeadline: () => new Date(NOW + 100) } as never;
    expect(callDeadline(context({ timeoutMs: 500 }), { parent }, NOW)).toBe(NOW + 100);
    expect(callDeadline(context({ timeoutMs: 50 }), { parent }, NOW)).toBe(NOW + 50);
    expect(callDeadline(context(), { parent, propagate_flags: 1 }, NOW)).toBe(NOW + 100);
    expect(callDeadline(context(), { parent, propagate_flags: 8 }, NOW)).toBe(Infinity);
    const unbounded = { getDeadline: () => Infinity } as never;
    expect(callDeadline(context({ timeoutMs: 500 }), { parent: unbounded }, NOW)).toBe(NOW + 500);
  });

  it.each([
    [{ timeoutMs: NaN }, 'timeoutMs: expected >0, got NaN'],
    [{ timeoutMs: 0 }, 'timeoutMs: expected >0, got 0'],
    [{ timeoutMs: '500' }, 'timeoutMs: expected >0, got "500"'],
    [{ deadline: NaN }, 'deadline: expected a Date or milliseconds since 1970, got NaN; write '],
    [{ deadline: 500 }, 'got 500, which is a duration'],
    [{ deadline: 'tomorrow' }, 'got "tomorrow"'],
  ])('rejects the call options %o with an error that names the method and the value', (options, text) => {
    const make = () => callDeadline(context(), options as never, NOW);
    expect(make).toThrow(GrpcConfigurationError);
    expect(make).toThrow(text);
    expect(make).toThrow('orders/orders.v1.Orders/Get: options.');
  });

  const foreign = Object.assign(Object.create({ getMap: () => ({}) }) as object, { internalRepr: new Map() });
  it.each<[string, unknown, unknown]>([
    ['after the options', { timeoutMs: 5 }, new Metadata()],
    ['after undefined', undefined, new Metadata()],
    ['given twice', new Metadata(), metadataOf({ 'x-token': 'hush' })],
    ['from another grpc-js copy after the options', { timeoutMs: 5 }, foreign],
  ])('rejects Metadata %s with an error that shows the order of the arguments', (_what, first, second) => {
    const { options } = callArguments(first as never, second as never);
    expect(() => callDeadline(context(), options, NOW)).toThrow(
      new GrpcConfigurationError([
        {
          path: 'orders/orders.v1.Orders/Get: options',
          message:
            "expected call options, got grpc-js's Metadata; write the arguments in the order (request, metadata, options)",
        },
      ]),
    );
  });

  it.each<[string, unknown, unknown]>([
    ['alone', new Map([['timeoutMs', 5]]), undefined],
    ['before options', new Map(), { timeoutMs: 5 }],
    ['after options', { timeoutMs: 5 }, new Map()],
    ['after metadata', new Metadata(), new Map()],
  ])('rejects a Map as call options: %s', (_what, first, second) => {
    const { options } = callArguments(first as never, second as never);
    expect(() => callDeadline(context(), options, NOW)).toThrow(
      'orders/orders.v1.Orders/Get: options: expected an object, got a Map',
    );
  });
});
