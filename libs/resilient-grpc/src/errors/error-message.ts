import { StatusCode } from '../status/status-code.js';

/**
 * Characters that can forge text in a log or a terminal: control characters and line separators, which start a line or color a terminal,
 * and bidirectional formatting characters, which reorder the characters around them.
 */
export const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

const EACH = new RegExp(CONTROL_CHARACTERS, 'g');

/** Replaces each control character of `text` with its escape sequence, such as '\u001b'. */
export function escapeControls(text: string): string {
  return text.replaceAll(EACH, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** True if `value` is an Error, from any realm. Jest runs tests in their own realm, and errors from Node's modules belong to another. */
export function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

export function errorMessage(error: unknown): string {
  return isError(error) ? error.message : String(error);
}

/**
 * Replaces the user and password of each URL in `text` with '***'. A password may contain '/' and '@', so everything up to the last '@' of
 * a URL is masked. A URL without an authority, such as 'consul:///me:secret@agent', has credentials only if a ':' follows its '///' before
 * any other '/' or '@'. This rule excludes the `webpack:///` URLs of stack frames, which contain '@' in package names. `file:///` and
 * `unix:///` URLs have no credentials.
 *
 * @param isCut True if the text was truncated. The '@' of a URL at the end may then have been cut off. Such a URL is masked completely if
 * it has an authority, or if a ':' follows its '///' as described above.
 */
export function maskCredentials(text: string, isCut = false): string {
  const masked = text.replace(/:\/\/(?!\/)[^\s"<>]+/g, (url, at: number) => {
    if (isCut && at + url.length === text.length) return '://***';
    const end = url.lastIndexOf('@');
    return end === -1 ? url : `://***${url.slice(end)}`;
  });
  // This second pass takes linear time. A combined pattern would read the rest of the text at each '://'.
  return masked.replace(/(?<!\b(?:file|unix)):\/\/\/[^\s"<>]+/g, (url, at: number) => {
    if (!/^:\/\/\/[^/@:]*:/.test(url)) return url;
    if (isCut && at + url.length === masked.length) return ':///***';
    const end = url.lastIndexOf('@');
    return end === -1 ? url : `:///***${url.slice(end)}`;
  });
}

/** Masks the credentials in one value, which may be an address without a scheme: 'app:secret@orders:50051' becomes '***@orders:50051'. */
export function maskAddress(value: string, isCut = false): string {
  const masked = maskCredentials(value, isCut);
  if (masked !== value || /^unix(?:-abstract)?:/.test(value)) return masked;
  // Masks a truncated value even without an '@', because the '@' may be in the part that was cut off.
  const credentials = isCut
    ? /^((?:dns|ipv[46]):)?[^\s"<>@/:]*:(?:[^"<>]*(@)|[^\s"<>]*$)/
    : /^((?:dns|ipv[46]):)?[^\s"<>@/:]*:[^"<>]*(@)/;
  return value.replace(credentials, '$1***$2');
}

/** Calls a listener of the application. An error that the listener throws does not end the current operation. */
export function notifyListener<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** A message that is not sent, because a value in it would not arrive as it was given. */
export class InvalidMessageError extends TypeError {
  constructor(
    message: string,
    readonly code: StatusCode,
  ) {
    super(message);
  }
}

export function serializationFailure(error: unknown): { readonly code: StatusCode; readonly details: string } {
  const code = error instanceof InvalidMessageError ? error.code : StatusCode.INTERNAL;
  return { code, details: `Request message serialization failure: ${errorMessage(error)}` };
}
