import { shapeOf, type FieldKind, type Shape } from './error-detail-types.js';
import { readFields } from './protobuf-reader.js';

/**
 * Decodes a detail to an object in which every non-optional field is set; `undefined` if the type is unknown.
 * @throws Error if the bytes are not a message of that type
 */
export function decodeDetail(typeName: string, bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  const shape = shapeOf(typeName);
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
      // Safe: emptyOf set an array.
      (message[name] as unknown[]).push(decodeValue(kind[0] as 'text' | Shape, value));
    } else if (kind === 'map') {
      const [key, text] = mapEntry(value);
      // Defines an own property even for '__proto__', on the object that emptyOf set.
      Object.defineProperty(message[name], key, { value: text, enumerable: true, configurable: true, writable: true });
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

/** Decodes the text of a field. */
export function readText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function mapEntry(bytes: Uint8Array): readonly [key: string, text: string] {
  const entry: Record<number, string> = {};
  for (const { number, value } of readFields(bytes)) {
    if (typeof value !== 'bigint') entry[number] = readText(value);
  }
  return [entry[1] ?? '', entry[2] ?? ''];
}

function durationMs(bytes: Uint8Array): number {
  const parts: Record<number, number> = {};
  for (const { number, value } of readFields(bytes)) {
    if (typeof value === 'bigint') parts[number] = Number(BigInt.asIntN(64, value));
  }
  return (parts[1] ?? 0) * 1_000 + (parts[2] ?? 0) / 1_000_000;
}
