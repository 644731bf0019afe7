/** Type of a field. A kind in an array means a repeated field; `map` has string keys and values; a `duration` is in milliseconds. */
export type FieldKind = 'text' | 'number' | 'duration' | 'map' | Shape | readonly ['text' | Shape];
/** Shape of a message: its fields by number, each with its JSON name. */
export type Shape = Readonly<Record<number, readonly [name: string, kind: FieldKind]>>;

const LOCALIZED_MESSAGE: Shape = { 1: ['locale', 'text'], 2: ['message', 'text'] };

/**
 * Shapes of the standard error details, by type name
 * (https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto).
 */
const SHAPES: Readonly<Record<string, Shape>> = {
  'google.rpc.ErrorInfo': { 1: ['reason', 'text'], 2: ['domain', 'text'], 3: ['metadata', 'map'] },
  'google.rpc.RetryInfo': { 1: ['retryDelayMs', 'duration'] },
  'google.rpc.DebugInfo': { 1: ['stackEntries', ['text']], 2: ['detail', 'text'] },
  'google.rpc.QuotaFailure': {
    1: [
      'violations',
      [
        {
          1: ['subject', 'text'],
          2: ['description', 'text'],
          3: ['apiService', 'text'],
          4: ['quotaMetric', 'text'],
          5: ['quotaId', 'text'],
          6: ['quotaDimensions', 'map'],
          7: ['quotaValue', 'number'],
          8: ['futureQuotaValue', 'number'],
        },
      ],
    ],
  },
  'google.rpc.PreconditionFailure': {
    1: ['violations', [{ 1: ['type', 'text'], 2: ['subject', 'text'], 3: ['description', 'text'] }]],
  },
  'google.rpc.BadRequest': {
    1: [
      'fieldViolations',
      [
        {
          1: ['field', 'text'],
          2: ['description', 'text'],
          3: ['reason', 'text'],
          4: ['localizedMessage', LOCALIZED_MESSAGE],
        },
      ],
    ],
  },
  'google.rpc.RequestInfo': { 1: ['requestId', 'text'], 2: ['servingData', 'text'] },
  'google.rpc.ResourceInfo': {
    1: ['resourceType', 'text'],
    2: ['resourceName', 'text'],
    3: ['owner', 'text'],
    4: ['description', 'text'],
  },
  'google.rpc.Help': { 1: ['links', [{ 1: ['description', 'text'], 2: ['url', 'text'] }]] },
  'google.rpc.LocalizedMessage': LOCALIZED_MESSAGE,
};

/** Type of the detail that lists the invalid fields of a request. */
export const BAD_REQUEST = 'google.rpc.BadRequest';
/** Type of the detail with the delay before a retry. */
export const RETRY_INFO = 'google.rpc.RetryInfo';

/** True if `kind` is a repeated field. Needed because `Array.isArray` does not narrow readonly arrays. */
export function isRepeated(kind: FieldKind): kind is readonly ['text' | Shape] {
  return Array.isArray(kind);
}

/** Returns the type name of a type URL. */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

/** Returns the shape of a google.rpc type; `undefined` for any other type. */
export function shapeOf(typeName: string): Shape | undefined {
  return Object.hasOwn(SHAPES, typeName) ? SHAPES[typeName] : undefined;
}
