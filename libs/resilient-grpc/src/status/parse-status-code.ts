import { isStatusCode, STATUS_NAMES, StatusCode, type StatusName } from './status-code.js';

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
