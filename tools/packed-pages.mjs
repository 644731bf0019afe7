// node tools/packed-pages.mjs write|remove: npm runs it before and after packing. `write` adds the README, the changelog, the pages to which the
// README and log lines point, and the files that users copy to the library's folder, with links that work in the package; `remove` deletes
// them.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const LIBRARY = join(ROOT, 'libs/resilient-grpc');

/** Files that users copy, which are packed as they are, JSON without white space. */
const FOR_USERS = ['docs/operate/grafana-dashboard.json', 'docs/operate/prometheus-rules.yml'];

/** Pages that are packed, with the files of a folder: those to which the README, log lines, and commands point. */
const PAGES = [
  'SECURITY.md',
  'docs/start.md',
  'docs/from-clients-module.md',
  'docs/how-it-works.md',
  'docs/about/compatibility.md',
  'docs/about/performance.md',
  'docs/deploy/kubernetes.md',
  'docs/guides/overload.md',
  'docs/guides/server.md',
  'docs/guides/shutdown.md',
  'docs/guides/writes.md',
  'docs/operate/agents.md',
  'docs/operate/dashboard.md',
  'docs/operate/doctor.md',
  'docs/operate/runbook.md',
  'docs/operate/telemetry.md',
  ...readdirSync(join(ROOT, 'docs/problems')).map((name) => `docs/problems/${name}`),
  'docs/reference/client-options.md',
  'docs/test/testing.md',
];

/** Pictures of the README, which are packed if the package has no repository to which the README can link. */
const PICTURES = ['docs/restart.svg'];

/** Files and folders that packing adds to the library's folder. */
const PLACES = ['README.md', 'CHANGELOG.md', 'SECURITY.md', 'docs'];

/**
 * Returns the pages of the package by their paths in the repository.
 *
 * @param {{ version: string, repository?: { url: string } }} manifest of the library
 * @returns {Record<string, string>}
 */
export function packedPages({ version, repository }) {
  const paths = ['README.md', 'CHANGELOG.md', ...PAGES, ...FOR_USERS];
  const address = addressOf(repository);
  return Object.fromEntries(
    paths.map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      if (FOR_USERS.includes(path)) return [path, path.endsWith('.json') ? JSON.stringify(JSON.parse(text)) : text];
      const renderLink = (image, label, target) => {
        const written = `${image}[${label}](${target})`;
        if (/^(https?:|#)/.test(target)) return written;
        const [file = ''] = target.split('#');
        const inRepository = join(dirname(path), target);
        // Links to the repository, because relative links do not work on the package's web page.
        if (address !== undefined)
          return `${image}[${label}](${address}/${image ? 'raw' : 'blob'}/v${version}/${inRepository})`;
        return [...paths, ...PICTURES].includes(join(dirname(path), file)) ? written : image ? `_${label}_` : label;
      };
      return [
        path,
        changeProse(text, (prose) =>
          prose
            .replace(/<!--.*?-->/gs, '')
            .replace(REFERENCE, (all, label, target) => (renderLink('', label, target) === label ? '' : all))
            .replace(LINK, (_all, ...parts) => renderLink(...parts)),
        ),
      ];
    }),
  );
}

/**
 * Returns `undefined` while package.json contains only a placeholder.
 *
 * @param {{ url: string } | undefined} repository
 */
export const addressOf = (repository) =>
  repository === undefined || repository.url.includes('placeholder.invalid')
    ? undefined
    : repository.url.replace(/^git\+|\.git$/g, '');

/** A link in parentheses, such as ` ([why](page.md))`, which is meaningless without its page. */
const REFERENCE = / \(\[([^\]]*)\]\(([^)\s]+)\)\)/g;
const LINK = /(!?)\[([^\]]*)\]\(([^)\s]+)\)/g;

/**
 * @param {string} page
 * @param {(prose: string) => string} change applied to all text outside of fenced blocks
 */
function changeProse(page, change) {
  return page
    .split(/^(```[^]*?^```)/m)
    .map((part, index) => (index % 2 === 0 ? change(part) : part))
    .join('');
}

const [, program, action] = process.argv;
if (program === fileURLToPath(import.meta.url)) {
  for (const place of PLACES) rmSync(join(LIBRARY, place), { recursive: true, force: true });
  if (action === 'write') {
    const manifest = JSON.parse(readFileSync(join(LIBRARY, 'package.json'), 'utf8'));
    for (const [path, text] of Object.entries(packedPages(manifest))) {
      mkdirSync(dirname(join(LIBRARY, path)), { recursive: true });
      writeFileSync(join(LIBRARY, path), text);
    }
    if (addressOf(manifest.repository) === undefined)
      for (const path of PICTURES) copyFileSync(join(ROOT, path), join(LIBRARY, path));
  }
}
