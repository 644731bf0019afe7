import { seams } from './source-seams.mjs';

/** Renders a Markdown table of the private names that `half` of the library ('client' or 'server') needs. */
export function seamTable(half) {
  const rows = seams()
    .filter((seam) => seam.half === half)
    .map(
      ({ on, needs, lostWithout }) => `| ${on} | ${needs.map((name) => `\`${name}\``).join(', ')} | ${lostWithout} |`,
    );
  return ['| Object | Private names | Disabled if a name is missing |', '| --- | --- | --- |', ...rows].join('\n');
}
