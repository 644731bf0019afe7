import { codeBlocks } from '../docs/markdown.js';

/** Replacements, by the text on a page that each replaces. */
export type Changes = Readonly<Record<string, string>>;

/**
 * Returns the first block of a guide whose first line is `// <fileOrLanguage>` or whose language is `fileOrLanguage`, with `changes`
 * applied.
 *
 * @throws if the page has no such block, or the block does not contain a key of `changes`
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
