import { Metadata } from '@grpc/grpc-js';
import type { StatusLike } from '../calls/wire-call.js';

/** The end of a call as it leaves the server: its status with the trailers, and its message before compression. */
export interface KeptEnd extends StatusLike {
  /** The message; `undefined` if the call failed. */
  readonly bytes: Uint8Array | undefined;
}

type Head = readonly [code: number, details: string, trailers: readonly (readonly [string, string])[]];

/** Bytes of the length of the head. */
const LENGTH_BYTES = 4;

export function encodeEnd({ code, details, metadata, bytes }: KeptEnd): Uint8Array {
  if (metadata === undefined && bytes !== undefined && details === 'OK') return Buffer.concat([OK_HEAD, bytes]);
  const trailers = Object.keys(metadata?.getMap() ?? {}).flatMap((key) =>
    (metadata?.get(key) ?? []).map((value) => [key, typeof value === 'string' ? value : value.toString('base64')]),
  );
  const head = Buffer.from(JSON.stringify([code, details, trailers]));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(head.length);
  return Buffer.concat([length, head, ...(bytes === undefined ? [] : [Uint8Array.of(1), bytes])]);
}

/** Head of a success without trailers, and the byte that says that a message follows. */
const OK_HEAD = encodeEnd({ code: 0, details: 'OK', bytes: new Uint8Array(), metadata: new Metadata() });

/** @throws Error if the store returned other bytes than it was given */
export function decodeEnd(encoded: Uint8Array): KeptEnd {
  const kept = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.length);
  const headEnd = LENGTH_BYTES + kept.readUInt32BE();
  // Safe cast: `encodeEnd` wrote it.
  const [code, details, trailers] = JSON.parse(kept.toString('utf8', LENGTH_BYTES, headEnd)) as Head;
  const metadata = new Metadata();
  for (const [key, value] of trailers) metadata.add(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  return { code, details, metadata, bytes: headEnd < kept.length ? kept.subarray(headEnd + 1) : undefined };
}

/** A response whose bytes are sent as they are. */
export class KeptMessage {
  constructor(readonly bytes: Uint8Array) {}
}
