/**
 * `text` with '***' in place of the user and password of each URL in it. A password may contain '/' and '@': everything up to the last
 * '@' of a URL is masked. A URL without an authority, such as 'consul:///me:secret@agent', has credentials only if a ':' precedes the
 * first '/' of its path: `webpack:///` URLs are in stack frames, and names of packages contain '@'. `file:///` URLs have none.
 *
 * @param isCut True if the text was cut at its end: the rest of a URL there may contain an '@', so all of it is masked.
 */
export function maskCredentials(text: string, isCut = false): string {
  const masked = text.replace(/:\/\/(?!\/)[^\s"<>]+/g, (url, at: number) => {
    if (isCut && at + url.length === text.length) return '://***';
    const end = url.lastIndexOf('@');
    return end === -1 ? url : `://***${url.slice(end)}`;
  });
  // A second pass, which reads each character once more at most: one pattern for both would read the rest of the text at each '://'.
  return masked.replace(/(?<!\b(?:file|unix)):\/\/\/[^\s"<>]+/g, (url) =>
    /^:\/\/\/[^/@:]*:.*@/.test(url) ? `:///***${url.slice(url.lastIndexOf('@'))}` : url,
  );
}

/** As `maskCredentials`, for one value that may be an address without a scheme: 'app:secret@orders:50051' becomes '***@orders:50051'. */
export function maskAddress(value: string, isCut = false): string {
  const masked = maskCredentials(value, isCut);
  if (masked !== value || /^unix(?:-abstract)?:/.test(value)) return masked;
  // The '@' may be in the part that was cut off.
  const credentials = isCut
    ? /^((?:dns|ipv[46]):)?[^\s"<>@/:]*:(?:[^"<>]*(@)|[^\s"<>]*$)/
    : /^((?:dns|ipv[46]):)?[^\s"<>@/:]*:[^"<>]*(@)/;
  return value.replace(credentials, '$1***$2');
}
