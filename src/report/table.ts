import { CONTENDER_TITLES } from '../contenders/contender.js';
import type { Standing } from '../load/contest.js';

const LABEL_WIDTH = 26;
const GAP = 3;

type Row = readonly [label: string, cell: (standing: Standing) => string];

const ROWS: readonly Row[] = [
  ['reads   failed', (standing) => String(standing.failedReads)],
  ['writes  failed', (standing) => String(standing.failedWrites + standing.unsafeInFlightFailed)],
  ['writes  done twice', (standing) => String(standing.duplicatedWrites)],
  ['back after the server', (standing) => milliseconds(standing.recoveryMs)],
  ['longest wait of a call', (standing) => milliseconds(standing.longestWaitMs)],
];

// The log keeps what was acknowledged, so this is no row anybody should see.
const LOST: Row = ['writes  lost', (standing) => String(standing.lostWrites)];

/** The figures of a scenario side by side, for a terminal. */
export function table(standings: readonly Standing[]): string {
  const rows = [...ROWS];
  if (standings.some((standing) => standing.lostWrites > 0)) rows.splice(3, 0, LOST);
  const titles = standings.map((standing) => CONTENDER_TITLES[standing.name]);
  const lines = [' '.repeat(LABEL_WIDTH) + titles.join(' '.repeat(GAP))];
  for (const [label, cell] of rows) {
    const cells = standings.map((standing, index) => centred(cell(standing), titles[index]?.length ?? 0));
    const line = label.padEnd(LABEL_WIDTH) + cells.join(' '.repeat(GAP));
    lines.push(line.trimEnd() + remark(label, standings.at(-1)));
  }
  return lines.join('\n');
}

/** Says of the last column's failed writes how many could not be helped. */
function remark(label: string, standing: Standing | undefined): string {
  if (label !== 'writes  failed' || !standing || standing.unsafeInFlightFailed === 0) return '';
  const count = standing.failedWrites === 0 ? '' : `${standing.unsafeInFlightFailed} `;
  return `  ${count}in flight at the kill`;
}

function milliseconds(value: number): string {
  return `${Math.round(value)} ms`;
}

function centred(text: string, width: number): string {
  return text.padStart(Math.floor((width + text.length) / 2)).padEnd(width);
}
