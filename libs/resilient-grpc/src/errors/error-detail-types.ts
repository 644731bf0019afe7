/** Type of a field. A kind in an array means a repeated field; `map` has string keys and values; a `duration` is in milliseconds. */
export type FieldKind = 'text' | 'number' | 'duration' | 'map' | Shape | readonly ['text' | Shape];
/**
 * Shape of a message: its fields by JSON name (with the suffix `Ms` for a duration), in the order of their numbers, which are 1, 2, 3, and
 * so on.
 */
export interface Shape {
  readonly [name: string]: FieldKind;
}

const LOCALIZED_MESSAGE: Shape = { locale: 'text', message: 'text' };

/**
 * Shapes of the standard error details, by type name
 * (https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto).
 */
const SHAPES: Readonly<Record<string, Shape>> = {
  'google.rpc.ErrorInfo': { reason: 'text', domain: 'text', metadata: 'map' },
  'google.rpc.RetryInfo': { retryDelayMs: 'duration' },
  'google.rpc.DebugInfo': { stackEntries: ['text'], detail: 'text' },
  'google.rpc.QuotaFailure': {
    violations: [
      {
        subject: 'text',
        description: 'text',
        apiService: 'text',
        quotaMetric: 'text',
        quotaId: 'text',
        quotaDimensions: 'map',
        quotaValue: 'number',
        futureQuotaValue: 'number',
      },
    ],
  },
  'google.rpc.PreconditionFailure': { violations: [{ type: 'text', subject: 'text', description: 'text' }] },
  'google.rpc.BadRequest': {
    fieldViolations: [{ field: 'text', description: 'text', reason: 'text', localizedMessage: LOCALIZED_MESSAGE }],
  },
  'google.rpc.RequestInfo': { requestId: 'text', servingData: 'text' },
  'google.rpc.ResourceInfo': { resourceType: 'text', resourceName: 'text', owner: 'text', description: 'text' },
  'google.rpc.Help': { links: [{ description: 'text', url: 'text' }] },
  'google.rpc.LocalizedMessage': LOCALIZED_MESSAGE,
};

/** Type of the detail that lists the invalid fields of a request. */
export const BAD_REQUEST = 'google.rpc.BadRequest';
/** Type of the detail that contains the delay before a retry. */
export const RETRY_INFO = 'google.rpc.RetryInfo';
/** Maximum google.protobuf.Duration in milliseconds: about 10,000 years. */
export const MAX_DURATION_MS = 315_576_000_000_000;

/** True if `kind` is a repeated field. Needed because `Array.isArray` does not narrow readonly arrays. */
export function isRepeated(kind: FieldKind): kind is readonly ['text' | Shape] {
  return Array.isArray(kind);
}

export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

/** Returns the shape of a standard error detail; `undefined` for any other type. */
export function shapeOf(typeName: string): Shape | undefined {
  return Object.hasOwn(SHAPES, typeName) ? SHAPES[typeName] : undefined;
}
