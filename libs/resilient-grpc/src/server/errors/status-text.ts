/** Longest text that is put together here, in characters: trailers share 8 KiB with all other metadata in most of gRPC. */
const LONGEST = 512;

/** Text that can be sent: half a surrogate pair makes grpc-js throw where it writes the status. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd');
}

/** Several texts as one, cut short where they are too long. */
export function joined(texts: readonly string[]): string {
  let text = '';
  for (const [at, one] of texts.entries()) {
    text += at === 0 ? one : `; ${one}`;
    if (text.length > LONGEST) return wellFormed(`${text.slice(0, LONGEST)}...`);
  }
  return wellFormed(text);
}
