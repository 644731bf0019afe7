import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { anchorOf } from '../../docs/.vitepress/links.mjs';

/** Root of the workspace. */
export const ROOT = dirname(dirname(import.meta.dirname));

/** Pages of the documentation, as paths from the root. */
export const PAGES = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'src/README.md',
  'test/README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file))
    .sort(),
];

/** Pages of the site, which are for users. */
export const USER_PAGES = PAGES.filter((page) => /^docs\/(?!internals\/)/.test(page));

/** A fenced block. */
export interface CodeBlock {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  /** True if the block shows a file of examples/, which has its own tests. */
  readonly isExample: boolean;
  readonly text: string;
}

/** A link or an image as written on the page. */
export interface PageLink {
  readonly line: number;
  readonly target: string;
}

/** The text of a page. */
export function pageText(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8');
}

/** The fenced blocks of a page, from top to bottom. */
export function codeBlocks(page: string): readonly CodeBlock[] {
  const blocks: CodeBlock[] = [];
  let open: { line: number; language: string; text: string[]; isExample: boolean } | undefined;
  let before = '';
  for (const [index, line] of pageText(page).split('\n').entries()) {
    if (line.trim() !== '' && !line.startsWith('```')) before = line;
    if (!line.startsWith('```')) open?.text.push(line);
    else if (open === undefined) {
      const isExample = before.startsWith('<!-- from examples/');
      open = { line: index + 1, language: line.slice(3).trim(), text: [], isExample };
    } else {
      blocks.push({ page, ...open, text: open.text.join('\n') });
      open = undefined;
    }
  }
  return blocks;
}

/** Lines of a page outside its fenced blocks, with their line numbers. */
function prose(page: string): readonly (readonly [line: number, text: string])[] {
  let fenced = false;
  return pageText(page)
    .split('\n')
    .flatMap((text, index) => {
      if (text.startsWith('```')) fenced = !fenced;
      return fenced || text.startsWith('```') ? [] : [[index + 1, text] as const];
    });
}

/** Links and images of a page. */
function linksOf(page: string): readonly PageLink[] {
  return prose(page).flatMap(([line, text]) =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => ({ line, target: match[1]! })),
  );
}

/** Links of a page whose target file or anchor does not exist, as `path:line: target`. */
export function brokenLinks(page: string): readonly string[] {
  const isBroken = ({ target }: PageLink): boolean => {
    if (target.startsWith('https://')) return false;
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : normalize(join(dirname(page), path));
    if (!existsSync(join(ROOT, file))) return true;
    return anchor !== undefined && !anchorsOf(file).has(anchor);
  };
  return linksOf(page)
    .filter(isBroken)
    .map(({ line, target }) => `${page}:${line}: ${target}`);
}

/** Valid `#…` targets of a page: its headings in GitHub's anchor form. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = prose(page).flatMap(([, text]) => /^#{1,6} (.+)$/.exec(text)?.[1] ?? []);
  return new Set(headings.map((heading) => anchorOf(heading)));
}
