/**
 * Replaces the user and password of each URL in `text` with '***'. A password may contain '/' and '@', so everything up to the last '@'
 * of a URL is masked. A URL without an authority, such as 'consul:///me:secret@agent', has credentials only if a ':' precedes the first
 * '/' of its path: stack frames contain `webpack:///` URLs, and package names contain '@'. `file:///` URLs have none.
 *
 * @param isCut True if the text was truncated. The missing rest of a URL at the end may contain an '@', so all of that URL is masked.
 */
export function maskCredentials(text: string, isCut = false): string {
  const masked = text.replace(/:\/\/(?!\/)[^\s"<>]+/g, (url, at: number) => {
    if (isCut && at + url.length === text.length) return '://***';
    const end = url.lastIndexOf('@');
    return end === -1 ? url : `://***${url.slice(end)}`;
  });
  // A second pass, which reads each character at most once more. A combined pattern would read the rest of the text at each '://'.
  return masked.replace(/(?<!\b(?:file|unix)):\/\/\/[^\s"<>]+/g, (url) =>
    /^:\/\/\/[^/@:]*:.*@/.test(url) ? `:///***${url.slice(url.lastIndexOf('@'))}` : url,
  );
}

/** Like `maskCredentials`, for one value that may be an address without a scheme: 'app:secret@orders:50051' becomes '***@orders:50051'. */
export function maskAddress(value: string, isCut = false): string {
  const masked = maskCredentials(value, isCut);
  if (masked !== value || /^unix(?:-abstract)?:/.test(value)) return masked;
  // The '@' may be in the part that was truncated.
  const credentials = isCut
    ? /^((?:dns|ipv[46]):)?[^\s"<>@/:]*:(?:[^"<>]*(@)|[^\s"<>]*$)/
    : /^((?:dns|ipv[46]):)?[^\s"<>@/:]*:[^"<>]*(@)/;
  return value.replace(credentials, '$1***$2');
}
