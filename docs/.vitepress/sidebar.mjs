import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';

const DOCS = join(import.meta.dirname, '..');

/**
 * Groups of the sidebar by title, each with its pages in reading order, without extensions. The name of a folder represents all its pages.
 */
const GROUPS = {
  Start: ['index', 'tour', 'differences', 'demo'],
  'From your problem': ['problems'],
  Clients: ['policies', 'endpoints', 'streams', 'errors', 'health', 'shutdown', 'testing', 'operators'],
  Servers: ['server', 'overload'],
  Operations: ['telemetry', 'logs', 'dashboard', 'operations', 'doctor'],
  Deployment: [
    'guides/kubernetes',
    'guides/kubernetes-resolver',
    'guides/service-meshes',
    'guides/proxies',
    'guides/serverless',
    'guides/xds',
    'guides/tls',
  ],
  Recipes: ['recipes'],
  Migration: ['migration'],
  Reference: ['options', 'call-lifecycle', 'guarantees', 'performance', 'security', 'compatibility'],
  Why: ['architecture', 'decisions', 'upstream', 'fleet'],
};

/** Groups that are open on every page. The others are collapsed until one of their pages is open. */
const OPEN = ['Start', 'Clients', 'Servers', 'Operations', 'Deployment'];

/** Returns the sidebar of the site: every page once, with its heading as text. */
export function sidebar() {
  const pages = readdirSync(DOCS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => file.slice(0, -'.md'.length))
    .sort();
  return Object.entries(GROUPS).map(([text, names]) => {
    const items = names.flatMap((name) =>
      itemsOf(inOrder(pages.filter((page) => page === name || page.startsWith(`${name}/`)))),
    );
    const collapsed = !OPEN.includes(text);
    // The README.md of a group with a single folder is the link of the group.
    return names.length === 1 ? { ...items[0], text, items: items.slice(1), collapsed } : { text, items, collapsed };
  });
}

/** Returns the pages of a folder in the order of the links on its overview; pages without such a link come last. */
function inOrder(pages) {
  // The overview of a folder is its README.md, or the page with the folder's name.
  const overview = pages.find((page) => page.endsWith('/README')) ?? pages[0];
  const links = [...textOf(overview).matchAll(/\]\(([\w/-]+)\.md(?:#[\w-]+)?\)/g)];
  const linked = links.map((match) => posix.join(dirname(overview), match[1])).filter((page) => pages.includes(page));
  return [...new Set([overview, ...linked, ...pages])];
}

/** Returns the items of a folder: its pages are nested under its overview, or follow it if the overview is a README.md. */
function itemsOf([overview, ...pages]) {
  if (overview.endsWith('README') || pages.length === 0) return [overview, ...pages].map(itemOf);
  return [{ ...itemOf(overview), items: pages.map(itemOf), collapsed: true }];
}

function itemOf(page) {
  const heading = /^# (.+)$/m.exec(textOf(page))?.[1] ?? page;
  return { text: heading.replaceAll('`', ''), link: `/${page.replace(/(^|\/)(index|README)$/, '$1')}` };
}

const textOf = (page) => readFileSync(join(DOCS, `${page}.md`), 'utf8');
