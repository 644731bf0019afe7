import { readFields } from './protobuf-reader.js';

/** How a field is read. A shape in an array is repeated; `map` is a map of texts. */
type FieldKind = 'text' | 'number' | 'duration' | 'map' | Shape | readonly ['text' | Shape];
/** A message: its fields by number, each with its name in JSON. */
type Shape = Readonly<Record<number, readonly [name: string, kind: FieldKind]>>;

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

/** Type of the detail that says when trying again makes sense. */
export const RETRY_INFO = 'google.rpc.RetryInfo';

/**
 * An encoded detail as an object, with all fields that are not optional in place; undefined where the type is not known here.
 * @throws Error where the bytes are not such a message
 */
export function decodeDetail(typeName: string, bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  const shape = Object.hasOwn(SHAPES, typeName) ? SHAPES[typeName] : undefined;
  return shape && decodeMessage(shape, bytes);
}

function decodeMessage(shape: Shape, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const message: Record<string, unknown> = {};
  for (const [name, kind] of Object.values(shape)) {
    const empty = emptyOf(kind);
    if (empty !== undefined) message[name] = empty;
  }
  for (const { number, value } of readFields(bytes)) {
    const field = shape[number];
    if (field === undefined) continue;
    const [name, kind] = field;
    if (typeof value === 'bigint') {
      if (kind === 'number') message[name] = Number(BigInt.asIntN(64, value));
    } else if (Array.isArray(kind)) {
      // True: put there by emptyOf.
      (message[name] as unknown[]).push(decodeValue(kind[0] as 'text' | Shape, value));
    } else if (kind === 'map') {
      Object.assign(message[name] as object, mapEntry(value));
    } else if (kind !== 'number') {
      message[name] = decodeValue(kind as 'text' | 'duration' | Shape, value);
    }
  }
  return message;
}

function emptyOf(kind: FieldKind): unknown {
  if (kind === 'text') return '';
  if (kind === 'map') return {};
  return Array.isArray(kind) ? [] : undefined;
}

function decodeValue(kind: 'text' | 'duration' | Shape, bytes: Uint8Array): unknown {
  if (kind === 'text') return readText(bytes);
  return kind === 'duration' ? durationMs(bytes) : decodeMessage(kind, bytes);
}

/** Text of a field. */
export function readText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function mapEntry(bytes: Uint8Array): Record<string, string> {
  const entry: Record<number, string> = {};
  for (const { number, value } of readFields(bytes)) {
    if (typeof value !== 'bigint') entry[number] = readText(value);
  }
  // As own data even for '__proto__'.
  return Object.fromEntries([[entry[1] ?? '', entry[2] ?? '']]);
}

function durationMs(bytes: Uint8Array): number {
  const parts: Record<number, number> = {};
  for (const { number, value } of readFields(bytes)) {
    if (typeof value === 'bigint') parts[number] = Number(BigInt.asIntN(64, value));
  }
  return (parts[1] ?? 0) * 1_000 + (parts[2] ?? 0) / 1_000_000;
}
