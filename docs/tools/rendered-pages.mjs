import { readFileSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { PARTS } from './rendered-parts.mjs';
import { withFigures } from './results.mjs';
import { ROOT } from './source.mjs';

/** Pages that may have parts which are rendered from other files. */
export const RENDERED_PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'src/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file))
    .sort(),
];

// <!-- rendered: options MethodOptions --> … <!-- end of rendered -->
const PART = /(<!-- rendered: (\S+)(?: (\S+))? -->\n)[^]*?(<!-- end of rendered -->)/g;
// <!-- from examples/first-call/main.ts#call -->, followed by a fenced block, which is added if it is missing.
const EXAMPLE = /(<!-- from (examples\/[^\s#]+)(?:#(\S+))? -->\n)(?:\n*```[^]*?\n```\n)?/g;
const REGION_MARK = /^\s*(?:\/\/|#) #(?:end)?region\b/;

/** Returns the current text of a page, and its text with the parts rendered from other files. */
export async function renderedPage(page) {
  const path = join(ROOT, page);
  const text = readFileSync(path, 'utf8');
  const filled = withFigures(text)
    .replace(PART, (_all, begin, part, what, end) => `${begin}\n${PARTS[part](what)}\n\n${end}`)
    .replace(EXAMPLE, (_all, comment, file, region) => `${comment}\n${example(file, region)}\n`);
  if (filled === text && !/<!--(?: rendered:| from examples\/)/.test(text)) return { path, text, rendered: text };
  const rendered = await format(filled, { ...(await resolveConfig(path)), filepath: path });
  return { path, text, rendered };
}

/** Returns a fenced block with the lines of a region, between `// #region NAME` and its `// #endregion`, or with the whole file. */
function example(file, region) {
  let lines = readFileSync(join(ROOT, file), 'utf8').trimEnd().split('\n');
  if (region !== undefined) {
    const first = lines.findIndex((line) => REGION_MARK.test(line) && line.trim().endsWith(`#region ${region}`));
    if (first < 0) throw new Error(`${file}: expected a line "// #region ${region}", found none`);
    let depth = 0;
    const length = lines.slice(first).findIndex((line) => {
      if (REGION_MARK.test(line)) depth += line.includes('#endregion') ? -1 : 1;
      return depth === 0;
    });
    if (length < 0) throw new Error(`${file}: region ${region} has no "// #endregion"`);
    lines = lines.slice(first + 1, first + length);
  }
  lines = lines.filter((line) => !REGION_MARK.test(line));
  const indent = Math.min(...lines.filter((line) => line.trim() !== '').map((line) => line.search(/\S/)));
  const language = { '.mjs': 'js', '.yml': 'yaml' }[extname(file)] ?? extname(file).slice(1);
  return `\`\`\`${language}\n${lines
    .map((line) => line.slice(indent))
    .join('\n')
    .trim()}\n\`\`\``;
}
