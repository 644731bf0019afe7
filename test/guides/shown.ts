import { codeBlocks } from '../docs/markdown.js';

/** Replacement texts. Each key is the text on a page that its value replaces. */
export type Changes = Readonly<Record<string, string>>;

/**
 * Finds the guide's first code block that begins with the line `// <fileOrLanguage>` or has the language `fileOrLanguage`. Returns its
 * text with `changes` applied.
 *
 * @throws if the page has no such block, or the block does not contain a key of `changes`
 */
export function shown(guide: string, fileOrLanguage: string, changes: Changes = {}): string {
  const page = `docs/deploy/${guide}.md`;
  const matches = ({ language, text }: { readonly language: string; readonly text: string }) =>
    language === fileOrLanguage || text.startsWith(`// ${fileOrLanguage}\n`);
  const block = codeBlocks(page).find(matches);
  if (block === undefined) throw new Error(`${page} shows no ${fileOrLanguage}`);
  return Object.entries(changes).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${page} shows no "${from}" in ${fileOrLanguage}`);
    return text.replace(from, to);
  }, block.text);
}
