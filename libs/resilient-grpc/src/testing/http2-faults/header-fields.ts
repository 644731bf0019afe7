import { constants } from 'node:http2';
import type { OutgoingHttpHeaders } from 'node:http2';

/** Header fields as received: name, value, name, value. */
export type RawFields = readonly string[];

// Node accepts only a single value for these fields and throws if it receives an array.
const SINGLE: ReadonlySet<string> = new Set([
  constants.HTTP2_HEADER_AUTHORIZATION,
  constants.HTTP2_HEADER_CONTENT_TYPE,
  constants.HTTP2_HEADER_TE,
  constants.HTTP2_HEADER_USER_AGENT,
]);

/**
 * Converts `raw` to headers for sending, with each value of a name kept separate. The headers object that node:http2 provides joins some
 * values with commas and drops others.
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
