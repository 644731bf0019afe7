import { codeBlocks } from '../docs/markdown.js';

/** Replacement for each text on a page. */
export type Changes = Readonly<Record<string, string>>;

/**
 * Returns the first block of a guide whose first line is `// <fileOrLanguage>` or whose language is `fileOrLanguage`, with `changes`
 * applied.
 *
 * @throws if the page lacks the block, or the block lacks a text to replace
 */
export function shown(guide: string, fileOrLanguage: string, changes: Changes = {}): string {
  const page = `docs/guides/${guide}.md`;
  const matches = ({ language, text }: { readonly language: string; readonly text: string }) =>
    language === fileOrLanguage || text.startsWith(`// ${fileOrLanguage}\n`);
  const block = codeBlocks(page).find(matches);
  if (block === undefined) throw new Error(`${page} shows no ${fileOrLanguage}`);
  return Object.entries(changes).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${page} shows no "${from}" in ${fileOrLanguage}`);
    return text.replace(from, to);
  }, block.text);
}
