import { seams } from './source-seams.mjs';

/** Renders the table of the private names that the client or the server needs as Markdown. */
export function seamTable(half) {
  const rows = seams()
    .filter((seam) => seam.half === half)
    .map(
      ({ on, needs, lostWithout }) => `| ${on} | ${needs.map((name) => `\`${name}\``).join(', ')} | ${lostWithout} |`,
    );
  return ['| Object | Private names | Disabled without them |', '| --- | --- | --- |', ...rows].join('\n');
}
