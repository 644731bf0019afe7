import * as v from 'valibot';
import { isStatusCode, STATUS_NAMES, StatusCode, type StatusName } from '../../status/status-code.js';
import { converted, list } from '../options/option-schemas.js';

/** A list of status codes, each a number or a case-insensitive name, with at least `least` entries. */
export const statusCodes = (least: 0 | 1) =>
  v.pipe(
    list(
      converted('the name of a status code or a number from 0 to 16', toCode, meant),
      'a list of status codes, such as ["UNAVAILABLE"]',
    ),
    v.minLength(least, 'at least one status code; write ["UNAVAILABLE"]'),
    v.transform((codes): ReadonlySet<StatusCode> => new Set(codes)),
  );

function toCode(entry: unknown): StatusCode | undefined {
  if (isStatusCode(entry)) return entry;
  const name = typeof entry === 'string' ? entry.toUpperCase() : '';
  return isName(name) ? StatusCode[name] : undefined;
}

function isName(name: string): name is StatusName {
  return Object.hasOwn(StatusCode, name);
}

// Returns the correction of a near miss, such as '14', 'unavailable ', or 'DeadlineExceeded'.
function meant(entry: unknown): string | undefined {
  if (typeof entry !== 'string') return undefined;
  const number = entry.trim() === '' ? NaN : Number(entry);
  if (isStatusCode(number)) return `${number} without quotes`;
  const letters = entry.replace(/[^a-z]/gi, '').toUpperCase();
  const name = STATUS_NAMES.find((candidate) => candidate.replace('_', '') === letters);
  return name === undefined ? undefined : `"${name}"`;
}
