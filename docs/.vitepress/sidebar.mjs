import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const DOCS = join(import.meta.dirname, '..');

/** Pages in the order in which a reader wants them, without their ending. A folder stands for all of its own. */
const GROUPS = {
  Start: ['index', 'swap'],
  'From your problem': ['problems'],
  Guides: [
    'policies',
    'streams',
    'shutdown',
    'health',
    'telemetry',
    'logs',
    'errors',
    'server',
    'testing',
    'dashboard',
    'operators',
    'guides',
  ],
  Recipes: ['recipes'],
  Migration: ['migration'],
  Reference: ['options', 'semantics', 'promises', 'security', 'compatibility', 'doctor'],
  Why: ['architecture', 'decisions', 'upstream', 'fleet'],
};

/** Groups that are not closed until one of their pages is read. */
const OPEN = ['Start', 'Guides'];

/** The sidebar of the site: every page once, under its own heading. */
export function sidebar() {
  const pages = readdirSync(DOCS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => file.slice(0, -'.md'.length))
    .sort();
  return Object.entries(GROUPS).map(([text, names]) => {
    const group = names.flatMap((name) =>
      inOrder(pages.filter((page) => page === name || page.startsWith(`${name}/`))),
    );
    const items = group.map(itemOf);
    const collapsed = !OPEN.includes(text);
    // A group that is one folder is headed by its README.md.
    return names.length === 1 ? { ...items[0], text, items: items.slice(1), collapsed } : { text, items, collapsed };
  });
}

/** The pages of a folder as its README.md links them, those it does not link last. */
function inOrder(pages) {
  const readme = pages.find((page) => page.endsWith('/README'));
  if (readme === undefined) return pages;
  const folder = readme.slice(0, -'README'.length);
  const linked = [...textOf(readme).matchAll(/\]\(([\w-]+)\.md\)/g)].map((match) => folder + match[1]);
  return [...new Set([readme, ...linked, ...pages])];
}

function itemOf(page) {
  const heading = /^# (.+)$/m.exec(textOf(page))?.[1] ?? page;
  return { text: heading.replaceAll('`', ''), link: `/${page.replace(/(^|\/)(index|README)$/, '$1')}` };
}

const textOf = (page) => readFileSync(join(DOCS, `${page}.md`), 'utf8');
