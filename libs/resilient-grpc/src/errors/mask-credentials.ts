/**
 * `text` with '***' in place of the user and password of each URL in it. A password may contain '/' and '@': everything up to the last
 * '@' of a URL is masked. `file:///` URLs (of stack frames) have none.
 *
 * @param isCut True if the text was cut at its end: the rest of a URL there may contain an '@', so all of it is masked.
 */
export function maskCredentials(text: string, isCut = false): string {
  return text.replace(/:\/\/(?!\/)[^\s"<>]+/g, (url, at: number) => {
    if (isCut && at + url.length === text.length) return '://***';
    const end = url.lastIndexOf('@');
    return end === -1 ? url : `://***${url.slice(end)}`;
  });
}

/** As `maskCredentials`, for one value that may be an address without a scheme: 'app:secret@orders:50051' becomes '***@orders:50051'. */
export function maskAddress(value: string, isCut = false): string {
  const masked = maskCredentials(value, isCut);
  if (masked !== value || /^unix(?:-abstract)?:/.test(value)) return masked;
  return value.replace(/^((?:dns|ipv[46]):)?[^\s"<>@/]*:[^"<>]*@/, '$1***@');
}
