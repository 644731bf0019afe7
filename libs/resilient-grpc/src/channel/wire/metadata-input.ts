import { Metadata } from '@grpc/grpc-js';

/** Metadata as an object; several values of one key as an array. */
type Values = Readonly<Record<string, string | Buffer | readonly (string | Buffer)[] | undefined>>;

/**
 * Creates metadata from a `Metadata` object, which is copied, or from a plain object.
 * @throws Error for a key or value that gRPC does not allow
 */
export function toMetadata(input: Metadata | Values): Metadata {
  if (input instanceof Metadata) return input.clone();
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(input)) {
    if (value === undefined) continue;
    const values = typeof value === 'string' || Buffer.isBuffer(value) ? [value] : value;
    for (const entry of values) metadata.add(key, entry);
  }
  return metadata;
}

const PRINTABLE = /^[ -~]*$/;

/** Returns the problem with one entry; `undefined` if the entry is valid. The result contains no values, because they may be secrets. */
export function metadataEntryProblem(key: string, value: unknown): string | undefined {
  if (/^grpc-/i.test(key)) return "expected a key that does not start with 'grpc-', which gRPC reserves";
  if (!/^[0-9a-z_.-]+$/i.test(key)) return 'expected a key of letters, digits, "_", ".", and "-"';
  const binary = /-bin$/i.test(key);
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  for (const entry of values) {
    if (binary && !Buffer.isBuffer(entry)) return `expected a Buffer for a key that ends in '-bin', got ${kind(entry)}`;
    if (binary) continue;
    if (Buffer.isBuffer(entry))
      return `expected a string, got a Buffer; write a key that ends in '-bin' for binary values`;
    if (typeof entry !== 'string') return `expected a string or an array of strings, got ${kind(entry)}`;
    if (PRINTABLE.test(entry)) continue;
    // The error suggests trimming, because a token that was read from a file often ends with a line break.
    return PRINTABLE.test(entry.trim())
      ? 'expected printable ASCII, got a value that begins or ends with a line break or a tab; trim the value'
      : "expected printable ASCII; write a key that ends in '-bin' and a Buffer for other values";
  }
  return undefined;
}

function kind(value: unknown): string {
  return value === null ? 'null' : typeof value;
}
