import type { ContenderName } from '../contenders/contender.js';
import type { Standing } from '../load/contest.js';
import { type Figure, type FigureName, FIGURES } from './figures.js';

const LABEL_WIDTH = 26;
const GAP = 3;

/** What a table shows, and what it calls the tuned client. */
export interface TableTerms {
  readonly figures: readonly FigureName[];
  readonly tunedTitle: string;
}

/** The figures of a scenario side by side, for a terminal. */
export function table(standings: readonly Standing[], { figures, tunedTitle }: TableTerms): string {
  const titlesByName: Readonly<Record<ContenderName, string>> = {
    plain: 'Nest ClientGrpc',
    tuned: tunedTitle,
    resilient: 'nestjs-resilient-grpc',
  };
  const titles = standings.map((standing) => titlesByName[standing.name]);
  const lines = [' '.repeat(LABEL_WIDTH) + titles.join(' '.repeat(GAP))];
  for (const name of shown(figures, standings)) {
    const { label, cell }: Figure = FIGURES[name];
    const cells = standings.map((standing, index) => centred(cell(standing), titles[index]?.length ?? 0));
    const line = label.padEnd(LABEL_WIDTH) + cells.join(' '.repeat(GAP));
    lines.push(line.trimEnd() + remark(name, standings.at(-1)));
  }
  return lines.join('\n');
}

// The log keeps what was acknowledged, so lost writes are no row anybody should see.
function shown(figures: readonly FigureName[], standings: readonly Standing[]): readonly FigureName[] {
  return standings.some(({ lostWrites }) => lostWrites > 0) ? [...figures, 'lostWrites'] : figures;
}

/** Says of the last column's failed writes how many could not be helped. */
function remark(name: FigureName, standing: Standing | undefined): string {
  if (name !== 'failedWrites' || !standing || standing.unsafeInFlightFailed === 0) return '';
  const count = standing.failedWrites === 0 ? '' : `${standing.unsafeInFlightFailed} `;
  return `  ${count}in flight at the kill`;
}

function centred(text: string, width: number): string {
  return text.padStart(Math.floor((width + text.length) / 2)).padEnd(width);
}
