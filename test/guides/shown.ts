import { codeBlocks } from '../docs/markdown.js';

/** What stands in place of what a page shows. */
export type Changes = Readonly<Record<string, string>>;

/**
 * The first block of a guide that begins with `// file` or is in `language`, with `changes`.
 *
 * @throws where the page is without one of them, so that nothing is changed in vain
 */
export function shown(guide: string, fileOrLanguage: string, changes: Changes = {}): string {
  const page = `docs/guides/${guide}.md`;
  const isIt = ({ language, text }: { readonly language: string; readonly text: string }) =>
    language === fileOrLanguage || text.startsWith(`// ${fileOrLanguage}\n`);
  const block = codeBlocks(page).find(isIt);
  if (block === undefined) throw new Error(`${page} shows no ${fileOrLanguage}`);
  return Object.entries(changes).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${page} shows no "${from}" in ${fileOrLanguage}`);
    return text.replace(from, to);
  }, block.text);
}
