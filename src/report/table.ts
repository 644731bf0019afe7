import type { ContenderName } from '../contenders/contender.js';

const LABEL_WIDTH = 26;
const GAP = 3;

/** Where a contender stands, whatever was counted. */
export interface Named {
  readonly name: ContenderName;
}

/** A row of the table: what stands before it, and what stands in a contender's column. */
export interface Figure<S extends Named> {
  readonly label: string;
  readonly cell: (standing: S) => string;
  /** Said of the last column, behind the row. */
  readonly remark?: (standing: S) => string;
  /** The row is there only if this is true of somebody. */
  readonly onlyIf?: (standing: S) => boolean;
}

/** What a table shows, and what it calls the tuned client. */
export interface TableTerms<S extends Named> {
  readonly figures: readonly Figure<S>[];
  readonly tunedTitle: string;
}

/** The figures of a scenario side by side, for a terminal. */
export function table<S extends Named>(standings: readonly S[], { figures, tunedTitle }: TableTerms<S>): string {
  const titlesByName: Readonly<Record<ContenderName, string>> = {
    plain: 'Nest ClientGrpc',
    tuned: tunedTitle,
    resilient: 'nestjs-resilient-grpc',
  };
  const titles = standings.map((standing) => titlesByName[standing.name]);
  const lines = [' '.repeat(LABEL_WIDTH) + titles.join(' '.repeat(GAP))];
  for (const { label, cell, remark, onlyIf } of figures) {
    if (onlyIf && !standings.some(onlyIf)) continue;
    const cells = standings.map((standing, index) => centred(cell(standing), titles[index]?.length ?? 0));
    const line = label.padEnd(LABEL_WIDTH) + cells.join(' '.repeat(GAP));
    const last = standings.at(-1);
    const said = last && remark ? remark(last) : '';
    lines.push(line.trimEnd() + (said && `  ${said}`));
  }
  return lines.join('\n');
}

/** A length of time in a cell. */
export function milliseconds(value: number): string {
  return `${Math.round(value)} ms`;
}

function centred(text: string, width: number): string {
  return text.padStart(Math.floor((width + text.length) / 2)).padEnd(width);
}
