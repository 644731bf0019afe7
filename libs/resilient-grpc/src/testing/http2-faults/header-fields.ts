import { constants } from 'node:http2';
import type { OutgoingHttpHeaders } from 'node:http2';

/** Header fields as they came: name, value, name, value. */
export type RawFields = readonly string[];

// Node sends one value of these, and throws at a list.
const SINGLE: ReadonlySet<string> = new Set([
  constants.HTTP2_HEADER_AUTHORIZATION,
  constants.HTTP2_HEADER_CONTENT_TYPE,
  constants.HTTP2_HEADER_TE,
  constants.HTTP2_HEADER_USER_AGENT,
]);

/**
 * `raw` for sending: every value of a name on its own, as it came. node:http2's own object of them joins some with commas and
 * drops others.
 */
export function sendable(raw: RawFields): OutgoingHttpHeaders {
  const fields: Record<string, string | string[]> = {};
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = '', value = ''] = raw.slice(at, at + 2);
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (!SINGLE.has(name) && !name.startsWith(':')) fields[name] = [before, value].flat();
  }
  return fields;
}
