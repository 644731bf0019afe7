import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { PARTS } from './rendered-parts.mjs';
import { ROOT } from './source.mjs';

/** Pages with parts that are rendered from code. */
export const RENDERED_PAGES = [
  'README.md',
  'docs/architecture.md',
  'docs/compatibility.md',
  'docs/errors.md',
  'docs/options.md',
  'docs/call-lifecycle/numbers.md',
  'docs/recipes/example-contract.md',
  'docs/telemetry/agents.md',
];

// <!-- rendered: options MethodOptions --> … <!-- end of rendered -->
const PART = /(<!-- rendered: (\S+)(?: (\S+))? -->\n)[^]*?(<!-- end of rendered -->)/g;

/** Returns the current text of a page, and its text with the parts rendered from code. */
export async function renderedPage(page) {
  const path = join(ROOT, page);
  const text = readFileSync(path, 'utf8');
  const filled = text.replace(PART, (_all, begin, part, what, end) => `${begin}\n${PARTS[part](what)}\n\n${end}`);
  const rendered = await format(filled, { ...(await resolveConfig(path)), filepath: path });
  return { path, text, rendered };
}
