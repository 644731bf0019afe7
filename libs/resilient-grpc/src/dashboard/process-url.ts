import { describeValue } from '../policy/options/describe-value.js';

const EXPECTED = "the http: or https: URL of a dashboard such as 'http://10.0.0.7:3000/grpc'";

/**
 * Returns the URL of a dashboard without a trailing slash.
 *
 * @throws TypeError if `value` is not an http: or https: URL, or contains credentials, a query, or a fragment
 */
export function processUrl(value: unknown): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol))
    throw new TypeError(`expected ${EXPECTED}, got ${describeValue(value)}`);
  // The page shows the URL, so the URL must not contain credentials.
  if (url.username !== '' || url.password !== '')
    throw new TypeError(`expected ${EXPECTED}, got a URL with a username or a password; send them in \`headers\``);
  if (url.search !== '' || url.hash !== '')
    throw new TypeError(`expected ${EXPECTED}, got a URL with a query or a fragment; omit the query and the fragment`);
  return url.href.replace(/\/$/, '');
}

export function isProcessUrl(value: string): boolean {
  try {
    processUrl(value);
    return true;
  } catch {
    return false;
  }
}
