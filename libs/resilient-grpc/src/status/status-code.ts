/** gRPC's status codes by name: OK and the sixteen error codes (https://github.com/grpc/grpc/blob/master/doc/statuscodes.md). */
export const StatusCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/** Name of a status code, as in the gRPC specification. Future versions of this library will not add a name. */
export type StatusName = keyof typeof StatusCode;
/** Number of a status code, 0 to 16. The package exports only this type; for the numbers by name, use `status` of `@grpc/grpc-js`. */
export type StatusCode = (typeof StatusCode)[StatusName];

/** All status names, indexed by code. */
// Safe: the object above has exactly these keys, in the order of their numbers.
export const STATUS_NAMES = Object.keys(StatusCode) as readonly StatusName[];

/** Returns the name of `code`; `UNKNOWN` if it is not a status code. */
export function statusName(code: number): StatusName {
  return STATUS_NAMES[code] ?? 'UNKNOWN';
}

/** True if `value` is a status code, 0 to 16. */
export function isStatusCode(value: unknown): value is StatusCode {
  return typeof value === 'number' && STATUS_NAMES[value] !== undefined;
}

/** Returns the status code for `value`, a code or a case-insensitive name; `undefined` for any other value. */
export function parseStatusCode(value: unknown): StatusCode | undefined {
  if (isStatusCode(value)) return value;
  const name = typeof value === 'string' ? value.toUpperCase() : '';
  return isName(name) ? StatusCode[name] : undefined;
}

function isName(name: string): name is StatusName {
  return Object.hasOwn(StatusCode, name);
}

/** Returns the correct form of a misspelled code, such as '14', 'unavailable ', or 'OutOfRange'; `undefined` if no code is similar. */
export function suggestStatusCode(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const number = value.trim() === '' ? NaN : Number(value);
  if (isStatusCode(number)) return `the number ${number}`;
  const letters = value.replace(/[^a-z]/gi, '').toUpperCase();
  const name = STATUS_NAMES.find((candidate) => candidate.replaceAll('_', '') === letters);
  return name === undefined ? undefined : `"${name}"`;
}

/** Codes that describe a request. A failure before a request is sent must not have one of them (gRFC A54). */
export const REQUEST_CODES: ReadonlySet<number> = new Set([
  StatusCode.OK,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.NOT_FOUND,
  StatusCode.ALREADY_EXISTS,
  StatusCode.FAILED_PRECONDITION,
  StatusCode.ABORTED,
  StatusCode.OUT_OF_RANGE,
  StatusCode.DATA_LOSS,
]);
