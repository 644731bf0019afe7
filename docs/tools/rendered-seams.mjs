import { seams } from './source-seams.mjs';

/** Markdown of the table of the private names that one half of the library needs. */
export function seamTable(half) {
  const rows = seams()
    .filter((seam) => seam.half === half)
    .map(
      ({ on, needs, lostWithout }) => `| ${on} | ${needs.map((name) => `\`${name}\``).join(', ')} | ${lostWithout} |`,
    );
  return ['| Of | Private names | Off without them |', '| --- | --- | --- |', ...rows].join('\n');
}
