import { boundText } from '../support/bound.js';
import type { JudgedRun } from './watched-run.js';

const FIGURE_WIDTH = 64;
const NUMBER_WIDTH = 12;

/** Formats one scenario or test: its name, each figure with its bound and verdict, why figures were not judged, and the errors. */
export function tableOf(name: string, { rows, errors, seconds, busy }: JudgedRun): string {
  const lines = rows.map(({ figure, value, bound, verdict }) => {
    const cells = [
      figure.padEnd(FIGURE_WIDTH),
      rounded(value).padStart(NUMBER_WIDTH),
      boundText(bound).padStart(NUMBER_WIDTH),
    ];
    return `  ${cells.join('  ')}  ${verdict === 'broken' ? 'BROKEN' : verdict}`;
  });
  const isOpen = rows.some(({ verdict }) => verdict === 'not judged');
  return [
    `${name} (${seconds.toFixed(1)} s)`,
    ...lines,
    ...(isOpen ? [`  not judged: ${busy}`] : []),
    ...errors.map((error) => `  FAILED: ${error.replaceAll('\n', '\n    ')}`),
  ].join('\n');
}

function rounded(value: number | string | undefined): string {
  if (value === undefined) return 'not measured';
  return String(typeof value === 'number' ? Math.round(value * 100) / 100 : value);
}
