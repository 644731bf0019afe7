/** What a field holds. A kind in an array is repeated; `map` is a map of texts; a `duration` is told in milliseconds. */
export type FieldKind = 'text' | 'number' | 'duration' | 'map' | Shape | readonly ['text' | Shape];
/** A message: its fields by number, each with its name in JSON. */
export type Shape = Readonly<Record<number, readonly [name: string, kind: FieldKind]>>;

const LOCALIZED_MESSAGE: Shape = { 1: ['locale', 'text'], 2: ['message', 'text'] };

/**
 * The standard details of errors, by the name of their type
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

/** Type of the detail that says which fields of a request are not valid. */
export const BAD_REQUEST = 'google.rpc.BadRequest';
/** Type of the detail that says when trying again makes sense. */
export const RETRY_INFO = 'google.rpc.RetryInfo';

/** The name of a type, out of its URL. */
export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

/** What a type of google.rpc looks like; undefined for any other. */
export function shapeOf(typeName: string): Shape | undefined {
  return Object.hasOwn(SHAPES, typeName) ? SHAPES[typeName] : undefined;
}
