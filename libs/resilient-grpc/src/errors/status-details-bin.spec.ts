import { fileURLToPath } from 'node:url';
import { Metadata } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { statusDetailsBin } from './status-details-bin.js';
import { STATUS_DETAILS_KEY, statusDetailsOf, type StatusDetail } from './status-details.js';

// Google's messages, encoded and decoded by protobufjs.
const protoPath = fileURLToPath(new URL('../../../../protos/testing/error-details.proto', import.meta.url));
const encoders = loadSync(protoPath, { longs: Number, defaults: true })['testing.rpc.Encoders'] as Record<
  string,
  MethodDefinition<object, object>
>;
const pbDecode = (type: string, bytes: Uint8Array): any => encoders[type]!.requestDeserialize(Buffer.from(bytes));
const pbEncode = (type: string, value: object): Uint8Array => encoders[type]!.requestSerialize(value);

function read(bin: Buffer): readonly StatusDetail[] {
  const trailers = new Metadata();
  trailers.set(STATUS_DETAILS_KEY, bin);
  return statusDetailsOf(trailers);
}

const roundTrip = (details: readonly StatusDetail[]) => read(statusDetailsBin(8, 'no more', details));

const text = fc.string({ unit: 'grapheme' });
const texts = <N extends string>(...names: N[]) =>
  Object.fromEntries(names.map((name) => [name, text])) as Record<N, typeof text>;
// Keys are own properties, including '__proto__'.
const map = fc.dictionary(fc.oneof(text, fc.constant('__proto__')), text, { noNullPrototype: true });
// Multiples of an eighth of a millisecond are exact as doubles, and are whole numbers of nanoseconds.
const delayMs = fc.integer({ min: -4_000_000, max: 4_000_000 }).map((eighths) => eighths / 8);
const int64 = fc.maxSafeInteger();
const localizedMessage = fc.record(texts('locale', 'message'));

/** Generators of values in the form that the decoder returns, by detail type. */
const VALUES: Readonly<Record<string, fc.Arbitrary<object>>> = {
  ErrorInfo: fc.record({ ...texts('reason', 'domain'), metadata: map }),
  RetryInfo: fc.record({ retryDelayMs: delayMs }, { requiredKeys: [] }),
  DebugInfo: fc.record({ stackEntries: fc.array(text), detail: text }),
  QuotaFailure: fc.record({
    violations: fc.array(
      fc.record(
        {
          ...texts('subject', 'description', 'apiService', 'quotaMetric', 'quotaId'),
          quotaDimensions: map,
          quotaValue: int64,
          futureQuotaValue: int64,
        },
        { requiredKeys: ['subject', 'description', 'apiService', 'quotaMetric', 'quotaId', 'quotaDimensions'] },
      ),
    ),
  }),
  PreconditionFailure: fc.record({ violations: fc.array(fc.record(texts('type', 'subject', 'description'))) }),
  BadRequest: fc.record({
    fieldViolations: fc.array(
      fc.record(
        { ...texts('field', 'description', 'reason'), localizedMessage },
        { requiredKeys: ['field', 'description', 'reason'] },
      ),
    ),
  }),
  RequestInfo: fc.record(texts('requestId', 'servingData')),
  ResourceInfo: fc.record(texts('resourceType', 'resourceName', 'owner', 'description')),
  Help: fc.record({ links: fc.array(fc.record(texts('description', 'url'))) }),
  LocalizedMessage: localizedMessage,
};
const TYPES = Object.keys(VALUES);
const anyDetail = fc.oneof(
  ...TYPES.map((type) =>
    VALUES[type]!.map((value): StatusDetail => ({ typeUrl: `type.googleapis.com/google.rpc.${type}`, value })),
  ),
  fc
    .uint8Array()
    .map((bytes): StatusDetail => ({ typeUrl: 'type.example.com/shop.v1.Mine', value: Buffer.from(bytes) })),
);

/** Converts `value` to the shape that protobufjs uses, in which a duration is a Duration message. */
function toPbValue(value: any): unknown {
  const { retryDelayMs, ...rest } = value;
  if (retryDelayMs === undefined) return rest;
  // Turns -0 into 0.
  const seconds = Math.trunc(retryDelayMs / 1_000) || 0;
  return { retryDelay: { seconds, nanos: (retryDelayMs - seconds * 1_000) * 1_000_000 } };
}

describe('statusDetailsBin', () => {
  it('encodes status details so that decoding returns the same details in the same order', () => {
    fc.assert(
      fc.property(fc.array(anyDetail, { maxLength: 4 }), (details) => {
        expect(roundTrip(details)).toEqual(details);
      }),
    );
  });

  it.each(TYPES)('encodes and decodes %s like protobufjs', (type) => {
    fc.assert(
      fc.property(VALUES[type]!, (value) => {
        const [detail] = roundTrip([{ typeUrl: `google.rpc.${type}`, value }]);
        const status = pbDecode('Status', statusDetailsBin(8, 'no more', [{ typeUrl: `google.rpc.${type}`, value }]));
        expect(status).toMatchObject({ code: 8, message: 'no more' });
        const [any] = status.details;
        expect(any.type_url).toBe(`type.googleapis.com/google.rpc.${type}`);
        expect(pbDecode(type, any.value)).toMatchObject(toPbValue(value) as object);
        const written = pbEncode('Status', {
          details: [
            { type_url: `type.googleapis.com/google.rpc.${type}`, value: pbEncode(type, toPbValue(value) as object) },
          ],
        });
        expect(read(Buffer.from(written))).toEqual([detail]);
      }),
      { numRuns: 50 },
    );
  });

  it('accepts a status detail with missing fields, or with a type name without a prefix', () => {
    expect(
      roundTrip([
        { typeUrl: 'google.rpc.ErrorInfo', value: { reason: 'QUOTA' } },
        { typeUrl: 'google.rpc.QuotaFailure', value: { violations: [{ subject: 'user', quotaId: undefined }] } },
      ]),
    ).toEqual([
      {
        typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo',
        value: { reason: 'QUOTA', domain: '', metadata: {} },
      },
      {
        typeUrl: 'type.googleapis.com/google.rpc.QuotaFailure',
        value: { violations: [expect.objectContaining({ subject: 'user', quotaId: '' })] },
      },
    ]);
  });

  it('encodes durations of 0, below 0, and from 1 ns to the longest Duration', () => {
    for (const retryDelayMs of [0, 0.000_001, 999.999_999_9, -0.5, -1_500, 315_576_000_000_000]) {
      const details = [{ typeUrl: 'google.rpc.RetryInfo', value: { retryDelayMs } }];
      const [any] = pbDecode('Status', statusDetailsBin(8, '', details)).details;
      // The nanoseconds stay below one second.
      expect(Math.abs(pbDecode('RetryInfo', any.value).retryDelay.nanos)).toBeLessThan(1_000_000_000);
      const [detail] = roundTrip(details);
      expect((detail!.value as { retryDelayMs: number }).retryDelayMs).toBeCloseTo(retryDelayMs, 6);
    }
  });

  it.each<[what: string, typeUrl: string, value: unknown, message: string]>([
    [
      'an unknown field',
      'google.rpc.BadRequest',
      { violations: [] },
      'statusDetails[1].value.violations: unknown field of google.rpc.BadRequest; known fields: fieldViolations',
    ],
    [
      'an unknown nested field',
      'google.rpc.Help',
      { links: [{}, { href: 'x' }] },
      'statusDetails[1].value.links[1].href: unknown field of this message; known fields: description, url',
    ],
    [
      'a number instead of a string',
      'google.rpc.ErrorInfo',
      { reason: 7 },
      'statusDetails[1].value.reason: expected a string, got 7',
    ],
    [
      'a number in a map of strings',
      'google.rpc.ErrorInfo',
      { metadata: { limit: 5 } },
      'statusDetails[1].value.metadata["limit"]: expected a string, got 5',
    ],
    [
      'a Map instead of an object',
      'google.rpc.ErrorInfo',
      { metadata: new Map() },
      'statusDetails[1].value.metadata: expected an object with string values, got a Map',
    ],
    [
      'a message instead of an array',
      'google.rpc.BadRequest',
      { fieldViolations: { field: 'id' } },
      'statusDetails[1].value.fieldViolations: expected an array, got an object',
    ],
    [
      'a duration with a unit',
      'google.rpc.RetryInfo',
      { retryDelayMs: '5s' },
      'statusDetails[1].value.retryDelayMs: expected a duration in milliseconds, got "5s"',
    ],
    [
      'a duration of NaN',
      'google.rpc.RetryInfo',
      { retryDelayMs: NaN },
      'statusDetails[1].value.retryDelayMs: expected a duration in milliseconds, got NaN',
    ],
    [
      'a fraction for an integer field',
      'google.rpc.QuotaFailure',
      { violations: [{ quotaValue: 1.5 }] },
      'statusDetails[1].value.violations[0].quotaValue: expected a 64-bit integer, got 1.5',
    ],
    [
      'an integer beyond 64 bits',
      'google.rpc.QuotaFailure',
      { violations: [{ quotaValue: 2 ** 63 }] },
      'statusDetails[1].value.violations[0].quotaValue: expected a 64-bit integer, got 9223372036854776000',
    ],
    [
      'null as a value',
      'google.rpc.DebugInfo',
      null,
      'statusDetails[1].value: expected an object with the fields of google.rpc.DebugInfo, got null',
    ],
    [
      'an object of an unknown type',
      'shop.v1.Mine',
      { id: 1 },
      "statusDetails[1].value: expected a standard detail type of google.rpc, got 'shop.v1.Mine'; encode other types yourself and pass a Uint8Array",
    ],
    [
      'an empty type name',
      '',
      {},
      'statusDetails[1].typeUrl: expected a type name such as \'google.rpc.ErrorInfo\', got ""',
    ],
  ])('throws a TypeError if the details contain %s', (_, typeUrl, value, message) => {
    const good: StatusDetail = { typeUrl: 'google.rpc.DebugInfo', value: {} };
    expect(() => statusDetailsBin(3, '', [good, { typeUrl, value }])).toThrow(new TypeError(message));
  });
});
