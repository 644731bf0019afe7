import type { UntestedVersion } from '../../call/untested-version.js';
import { LogLine, type LogFields } from './log-line.js';

/** Builds the warning about an untested installed version: missing private names, disabled features, tested versions. */
export function untestedVersionLine(
  { installed, tested, missing, lost }: UntestedVersion,
  fields: LogFields = {},
): LogLine {
  const lacks = missing.length === 0 ? 'is outside the tested versions' : `lacks private names (${missing.join(', ')})`;
  const disabled = lost.length === 0 ? '' : `; disabled: ${lost.join('; ')}`;
  return new LogLine('warn', `${installed} ${lacks}${disabled}; calls continue; tested with ${tested}`, {
    ...fields,
    event: 'untested-version',
    installed,
    tested,
    missing: missing.join(', '),
    lost: lost.join('; '),
  });
}
