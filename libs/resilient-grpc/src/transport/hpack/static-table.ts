/** Fields of the static table (RFC 7541, appendix A), separated by line breaks; the first has the index 1. */
const FIELDS = `:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`.split('\n');

/** Problem of a field that is dropped, as `node:http2` does, because its value is invalid. The rest of its block counts. */
export const IGNORED = 'invalid value';

/** A header field. */
export interface Field {
  readonly name: string;
  readonly value: string;
  /** Reason why the field is malformed (RFC 9113, section 8.2.1). */
  readonly problem?: string | undefined;
  /** The part of it that concerns the name. */
  readonly nameProblem?: string | undefined;
  /** True if the value is not only printable ASCII, as metadata must be; few are not. */
  readonly isUnusual?: boolean;
}

/** The static fields by index; index 0 is unused. */
export const STATIC_FIELDS: readonly Field[] = ['', ...FIELDS].map((text) => {
  const [, name = '', value = ''] = /^(\S*) ?(.*)$/.exec(text) ?? [];
  return { name, value };
});

export const STATIC_COUNT = FIELDS.length;

const nameIndexes = new Map<string, number>();
STATIC_FIELDS.forEach(({ name }, index) => {
  if (index > 0 && !nameIndexes.has(name)) nameIndexes.set(name, index);
});

/** Returns the first index of a field with `name`; 0 if there is none. */
export function staticNameIndex(name: string): number {
  return nameIndexes.get(name) ?? 0;
}

/** Returns the index of the field with `name`, whose first index is `from`, and `value`; 0 if there is none. */
export function staticFieldIndex(from: number, name: string, value: string): number {
  for (let index = from; ; index++) {
    const field = STATIC_FIELDS[index];
    if (field?.name !== name) return 0;
    if (field.value === value && value !== '') return index;
  }
}
