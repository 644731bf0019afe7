import { Metadata } from '@grpc/grpc-js';
import { fromJSON, type MethodDefinition } from '@grpc/proto-loader';
import { describe, expect, it, vi } from 'vitest';
import { GrpcCallError, isGrpcCallError, type GrpcCallFailure } from './grpc-call-error.js';

// Encodes details with protobufjs, as a server would. Each message type is the request type of a method. The request serializer of that
// method encodes the messages.
const MESSAGES = ['Status', 'RetryInfo', 'ErrorInfo', 'BadRequest', 'DebugInfo', 'QuotaFailure'];
const encoders = fromJSON({
  nested: {
    Encoders: {
      methods: Object.fromEntries(
        MESSAGES.map((type) => [type, { requestType: type, responseType: type, comment: '' }]),
      ),
    },
    Any: { fields: { type_url: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    Status: {
      fields: {
        code: { type: 'int32', id: 1 },
        message: { type: 'string', id: 2 },
        details: { rule: 'repeated', type: 'Any', id: 3 },
      },
    },
    Duration: { fields: { seconds: { type: 'int64', id: 1 }, nanos: { type: 'int32', id: 2 } } },
    RetryInfo: { fields: { retryDelay: { type: 'Duration', id: 1 } } },
    ErrorInfo: {
      fields: {
        reason: { type: 'string', id: 1 },
        domain: { type: 'string', id: 2 },
        // On the wire, a map is a repeated field of entries.
        metadata: { rule: 'repeated', type: 'Entry', id: 3 },
        later: { type: 'fixed64', id: 9 },
      },
    },
    Entry: { fields: { key: { type: 'string', id: 1 }, value: { type: 'string', id: 2 } } },
    FieldViolation: { fields: { field: { type: 'string', id: 1 }, description: { type: 'string', id: 2 } } },
    BadRequest: { fields: { fieldViolations: { rule: 'repeated', type: 'FieldViolation', id: 1 } } },
    DebugInfo: {
      fields: { stackEntries: { rule: 'repeated', type: 'string', id: 1 }, detail: { type: 'string', id: 2 } },
    },
    Violation: {
      fields: { subject: { type: 'string', id: 1 }, quotaValue: { type: 'int64', id: 7 } },
    },
    QuotaFailure: { fields: { violations: { rule: 'repeated', type: 'Violation', id: 1 } } },
  },
});

function encode(type: string, value: object): Uint8Array {
  return (encoders['Encoders'] as Record<string, MethodDefinition<object, object>>)[type]!.requestSerialize(value);
}

function trailers(...details: readonly [type: string, value: object | Uint8Array][]): Metadata {
  const metadata = new Metadata();
  const status = {
    code: 8,
    message: 'no more',
    details: details.map(([type, value]) => ({
      type_url: type.includes('.') ? type : `type.googleapis.com/google.rpc.${type}`,
      value: value instanceof Uint8Array ? value : encode(type, value),
    })),
  };
  metadata.set('grpc-status-details-bin', Buffer.from(encode('Status', status)));
  return metadata;
}

function makeError(metadata: Metadata, more: Partial<GrpcCallFailure> = {}): GrpcCallError {
  return new GrpcCallError({
    code: 8,
    details: 'no more',
    metadata,
    client: 'orders',
    path: '/orders.v1.Orders/Get',
    peer: undefined,
    reason: 'server',
    reachedServer: 'yes',
    attempts: [],
    notRetriedBecause: 'fatal-status',
    retryAfterMs: undefined,
    ...more,
  });
}

describe('status details', () => {
  it('decodes status details of known types in their original order', () => {
    const { statusDetails } = makeError(
      trailers(
        [
          'ErrorInfo',
          {
            reason: 'QUOTA',
            domain: 'shop',
            metadata: [
              { key: 'zone', value: 'é' },
              { key: '__proto__', value: 'x' },
            ],
            later: 5,
          },
        ],
        ['BadRequest', { fieldViolations: [{ field: 'id' }, { field: 'item', description: 'too long' }] }],
        ['DebugInfo', { stackEntries: ['a', 'b'] }],
        ['QuotaFailure', { violations: [{ subject: 'user', quotaValue: -3 }] }],
      ),
    );
    expect(statusDetails).toEqual([
      {
        typeUrl: 'type.googleapis.com/google.rpc.ErrorInfo',
        value: { reason: 'QUOTA', domain: 'shop', metadata: expect.objectContaining({ zone: 'é' }) },
      },
      {
        typeUrl: 'type.googleapis.com/google.rpc.BadRequest',
        value: {
          fieldViolations: [
            { field: 'id', description: '', reason: '' },
            { field: 'item', description: 'too long', reason: '' },
          ],
        },
      },
      {
        typeUrl: 'type.googleapis.com/google.rpc.DebugInfo',
        value: { stackEntries: ['a', 'b'], detail: '' },
      },
      {
        typeUrl: 'type.googleapis.com/google.rpc.QuotaFailure',
        value: {
          violations: [
            expect.objectContaining({ subject: 'user', quotaMetric: '', quotaDimensions: {}, quotaValue: -3 }),
          ],
        },
      },
    ]);
    expect(Object.prototype).not.toHaveProperty('zone');
  });

  it('keeps a status detail as bytes if its type is unknown or its value does not match the type', () => {
    const bytes = Uint8Array.of(10, 200);
    const { statusDetails } = makeError(trailers(['shop.v1.Mine', bytes], ['ErrorInfo', bytes]));
    expect(statusDetails.map(({ value }) => [...(value as Uint8Array)])).toEqual([
      [10, 200],
      [10, 200],
    ]);
  });

  it.each([
    ['no status', new Metadata()],
    ['an invalid status', Metadata.fromHttp2Headers({ 'grpc-status-details-bin': 'AAAA' })],
    ['a truncated status', Metadata.fromHttp2Headers({ 'grpc-status-details-bin': 'Gv8=' })],
    ['an invalid wire type', Metadata.fromHttp2Headers({ 'grpc-status-details-bin': 'Dw==' })],
  ])('returns no status details if the trailers contain %s', (_, metadata) => {
    expect(makeError(metadata).statusDetails).toEqual([]);
  });

  it('decodes status details once, on first access, and excludes them from JSON', () => {
    const metadata = trailers(['DebugInfo', { detail: 'hush' }]);
    const error = makeError(metadata, { retryAfterMs: 1 });
    metadata.remove('grpc-status-details-bin');
    expect(error.statusDetails).toEqual([]);
    const other = makeError(trailers(['DebugInfo', { detail: 'hush' }]));
    expect(other.statusDetails).toBe(other.statusDetails);
    expect(JSON.stringify(other)).not.toContain('hush');
    expect(Object.keys(other)).not.toContain('statusDetails');
  });

  it('takes retryAfterMs of the error from RetryInfo if the failure has no retryAfterMs', () => {
    const metadata = trailers(['ErrorInfo', {}], ['RetryInfo', { retryDelay: { seconds: 2, nanos: 500_000_000 } }]);
    expect(makeError(metadata).retryAfterMs).toBe(2_500);
    expect(makeError(metadata, { retryAfterMs: 7 }).retryAfterMs).toBe(7);
    expect(makeError(trailers(['RetryInfo', { retryDelay: { seconds: -2 } }])).retryAfterMs).toBeUndefined();
    expect(makeError(trailers(['RetryInfo', {}])).retryAfterMs).toBeUndefined();
  });

  it.each<[seconds: number, expected: number | undefined]>([
    [315_576_000_000, 315_576_000_000_000],
    [315_576_000_001, undefined],
    [2 ** 53, undefined],
  ])('ignores a RetryInfo only if its delay (%d s) exceeds the maximum of a Duration', (seconds, expected) => {
    expect(makeError(trailers(['RetryInfo', { retryDelay: { seconds } }])).retryAfterMs).toBe(expected);
  });

  it('decodes only RetryInfo when an error is created', () => {
    const decoded = vi.spyOn(Object, 'defineProperty');
    const error = makeError(
      trailers(
        ['ErrorInfo', { metadata: [{ key: 'zone', value: 'é' }] }],
        ['RetryInfo', { retryDelay: { seconds: 2 } }],
      ),
    );
    const entry = [expect.anything(), 'zone', expect.anything()];
    expect(error.retryAfterMs).toBe(2_000);
    expect(decoded).not.toHaveBeenCalledWith(...entry);
    expect(error.statusDetails).toHaveLength(2);
    expect(decoded).toHaveBeenCalledWith(...entry);
    decoded.mockRestore();
  });

  it('keeps a status detail as bytes if it has too many fields, and decodes the others', () => {
    const many = { fieldViolations: Array.from({ length: 23_000 }, () => ({})) };
    const details: readonly [string, object][] = [
      ['ErrorInfo', { reason: 'QUOTA' }],
      ['BadRequest', many],
      ['RetryInfo', { retryDelay: { seconds: 2 } }],
    ];
    const { statusDetails, retryAfterMs } = makeError(trailers(...details));
    expect(retryAfterMs).toBe(2_000);
    expect(statusDetails.map(({ typeUrl }) => typeUrl.split('.').at(-1))).toEqual(details.map(([type]) => type));
    expect(statusDetails[0]?.value).toMatchObject({ reason: 'QUOTA' });
    expect(statusDetails[1]?.value).toBeInstanceOf(Uint8Array);
  });

  it('reads at most 1,000 fields to find the status details of an error', () => {
    const many = Array.from({ length: 400 }, (): [string, object] => ['ErrorInfo', { reason: 'QUOTA' }]);
    const { statusDetails } = makeError(trailers(...many));
    // The status has 402 fields: code, message, and 400 details. Each detail has two more, so 299 details fit (402 + 598 = 1,000 fields).
    expect(statusDetails).toHaveLength(299);
    expect(makeError(trailers(...Array.from({ length: 1_001 }, () => many[0]!))).statusDetails).toEqual([]);
  });
});

describe('GrpcCallError', () => {
  it('matches an error in isGrpcCallError() by the number or the name of its code', () => {
    const error = makeError(new Metadata());
    expect(isGrpcCallError(error)).toBe(true);
    expect(isGrpcCallError(error, 'NOT_FOUND')).toBe(false);
    expect(isGrpcCallError(error, 'NOT_FOUND', 'RESOURCE_EXHAUSTED')).toBe(true);
    expect(isGrpcCallError(error, 8)).toBe(true);
    expect(isGrpcCallError({ code: error.code }, 8)).toBe(false);
    expect(isGrpcCallError(undefined)).toBe(false);
  });

  it('treats an error from another copy of this package as an instance of GrpcCallError, but not of its subclasses', async () => {
    vi.resetModules();
    const { GrpcCallError: Other } = await import('./grpc-call-error.js');
    const error = makeError(new Metadata());
    class Mine extends GrpcCallError {}
    expect(Other).not.toBe(GrpcCallError);
    expect(error instanceof Other).toBe(true);
    expect(new Error('14 UNAVAILABLE') instanceof GrpcCallError).toBe(false);
    expect(error instanceof Mine).toBe(false);
    expect(new Mine(error) instanceof Mine).toBe(true);
  });

  it('names the path and the client of the call in String(error), but not in the message', () => {
    const error = makeError(new Metadata(), { remedy: 'raise the quota' });
    expect(String(error)).toBe(
      "GrpcCallError: 8 RESOURCE_EXHAUSTED: no more (raise the quota) [call /orders.v1.Orders/Get of client 'orders']",
    );
    expect(error.message).toBe('8 RESOURCE_EXHAUSTED: no more (raise the quota)');
    expect(String(makeError(new Metadata(), { path: '' }))).toBe('GrpcCallError: 8 RESOURCE_EXHAUSTED: no more');
  });

  it('starts the message of a GrpcCallError as grpc-js does, and hides the metadata from JSON and logs', () => {
    const metadata = new Metadata();
    metadata.set('x-secret', 'hush');
    const error = makeError(metadata, { cause: new Error('why') });
    expect(error.message).toBe('8 RESOURCE_EXHAUSTED: no more');
    expect(error.codeName).toBe('RESOURCE_EXHAUSTED');
    expect(error.cause).toEqual(new Error('why'));
    expect(error.metadata.get('x-secret')).toEqual(['hush']);
    expect(JSON.stringify(error)).not.toContain('hush');
    expect(Object.keys(error)).not.toContain('metadata');
  });
});
