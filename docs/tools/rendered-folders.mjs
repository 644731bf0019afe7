import { FOLDERS } from '../../.dependency-cruiser.mjs';

/** Renders the table of the library's folders as Markdown, highest level first. */
export function folderTable() {
  const rows = Object.entries(FOLDERS)
    .sort(([, a], [, b]) => b.level - a.level)
    .map(([name, { is, level, packages, types = [], node = false }]) => {
      const named = [
        ...packages.map((module) => `\`${module}\``),
        ...types.map((module) => `types of \`${module}\``),
        ...(node ? ['Node'] : []),
      ];
      return `| ${level} | \`${name}/\` | ${is} | ${named.join(', ') || 'nothing'} |`;
    });
  return [
    '| Level | Folder | What it is | What it may import from outside the library |',
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}
