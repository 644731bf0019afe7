import type { HeaderBlock } from '../hpack/header-block.js';

/** Returns why a request is malformed (RFC 9113, section 8.3.1); `undefined` if it is not. The header list must be complete. */
export function requestProblem(block: HeaderBlock, isEnd: boolean): string | undefined {
  const { malformed, method, scheme, path, status, te, contentLength } = block;
  if (malformed !== undefined) return malformed;
  if (method === undefined || method === '') return 'no :method';
  if (scheme === undefined || scheme === '') return 'no :scheme';
  if (path === undefined || path === '') return 'no :path';
  if (status !== undefined) return ':status in a request';
  if (te !== undefined && te !== 'trailers') return 'a field te other than trailers';
  if (contentLength === undefined) return undefined;
  if (!/^\d{1,15}$/.test(contentLength)) return 'the value of content-length';
  return isEnd && Number(contentLength) > 0 ? 'content-length without a body' : undefined;
}

/** Returns why a field block after a body is malformed (RFC 9113, section 8.1); `undefined` if it is not. */
export function trailersProblem(block: HeaderBlock, isEnd: boolean): string | undefined {
  const { malformed, status, method, scheme, path, authority } = block;
  if (!isEnd) return 'trailers that do not end the stream';
  const pseudo = status ?? method ?? scheme ?? path ?? authority;
  return malformed ?? (pseudo === undefined ? undefined : 'a pseudo-header field in trailers');
}
