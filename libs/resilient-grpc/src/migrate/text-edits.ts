/** Replacement for the characters of a text from `start` to `end` (exclusive). */
export interface TextEdit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * Returns the part of `text` from `from` to `to` with the edits inside that part applied. Deletions may overlap; other edits must not.
 * An edit that is listed twice is applied once.
 */
export function applyEdits(text: string, edits: readonly TextEdit[], from = 0, to = text.length): string {
  const inside = edits
    .filter((edit, index) => edit.start >= from && edit.end <= to && !edits.slice(0, index).some(isSame(edit)))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  let result = '';
  let position = from;
  for (const { start, end, text: inserted } of inside) {
    result += text.slice(position, Math.max(start, position)) + inserted;
    position = Math.max(end, position);
  }
  return result + text.slice(position, to);
}

const isSame = (a: TextEdit) => (b: TextEdit) => a.start === b.start && a.end === b.end && a.text === b.text;

/**
 * Returns the edit that removes an item of a list, such as a property of an object, and the comma after the item. An item that occupies
 * whole lines is removed with those lines and the comment beside it. Comments before `start` are kept.
 */
export function removal(text: string, start: number, end: number): TextEdit {
  const comma = afterComma(text, end);
  const indent = start - lineStart(text, start);
  const isFirstOnLine = text.slice(start - indent, start).trim() === '';
  const lineEnd = /^[ \t]*(\r?\n|$)/.exec(text.slice(afterComment(text, comma)));
  if (isFirstOnLine && lineEnd !== null)
    return { start: start - indent, end: afterComment(text, comma) + lineEnd[0].length, text: '' };
  const spaces = /^[ \t]*/.exec(text.slice(comma))?.[0].length ?? 0;
  return { start, end: comma + spaces, text: '' };
}

/** Returns the position after the next comma, or `position` if anything other than whitespace and block comments precedes the comma. */
export function afterComma(text: string, position: number): number {
  return position + (/^(?:\s|\/\*(?:(?!\*\/)[^])*\*\/)*,/.exec(text.slice(position))?.[0].length ?? 0);
}

/** Returns the position after the comment that ends the current line, or `position` if other text or no comment follows. */
export function afterComment(text: string, position: number): number {
  const comment = /^[ \t]*(?:\/\/[^\r\n]*|\/\*(?:(?!\*\/).)*\*\/(?=[ \t]*(?:\r?\n|$)))/.exec(text.slice(position));
  return position + (comment?.[0].length ?? 0);
}

/** Returns the indentation of the line that contains `position`. */
export function indentAt(text: string, position: number): string {
  return /^[ \t]*/.exec(text.slice(lineStart(text, position)))?.[0] ?? '';
}

/** Changes the indentation from `from` to `to` in all lines except the first. */
export function reindent(text: string, from: string, to: string): string {
  // Text with a template literal stays unchanged, because the spaces inside the literal are part of its value.
  if (from === to || text.includes('`')) return text;
  return text
    .split('\n')
    .map((line, index) => (index > 0 && line.startsWith(from) ? to + line.slice(from.length) : line))
    .join('\n');
}

function lineStart(text: string, position: number): number {
  return text.lastIndexOf('\n', position - 1) + 1;
}
