import { isStatusCode, STATUS_NAMES, StatusCode, type StatusName } from '../../status/status-code.js';
import { at, type Problems } from './problem.js';
import { readList } from './read.js';

/**
 * Reads a list of status codes, each a number or a case-insensitive name. Adds a problem for each entry that is not a status code.
 * Returns `undefined` and adds a problem if `value` is not a list, or if it is empty and `empty` is 'not-empty'.
 */
export function readStatusCodes(
  value: unknown,
  path: string,
  problems: Problems,
  empty: 'empty-allowed' | 'not-empty',
): ReadonlySet<StatusCode> | undefined {
  const list = readList(value, path, problems, 'a list of status codes, such as ["UNAVAILABLE"]');
  if (!list) return undefined;
  if (list.length === 0 && empty === 'not-empty') {
    problems.add(path, 'at least one status code', value, '["UNAVAILABLE"]');
    return undefined;
  }
  const codes = new Set<StatusCode>();
  list.forEach((entry, index) => {
    const code = toCode(entry);
    if (code === undefined) {
      problems.add(at(path, index), 'the name of a status code or a number from 0 to 16', entry, meant(entry));
    } else codes.add(code);
  });
  return codes;
}

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
