/**
 * Characters that can forge text in a log or a terminal: control characters and line separators, which start a line or color a terminal,
 * and bidirectional formatting characters, which reorder the characters around them.
 */
export const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

const EACH = new RegExp(CONTROL_CHARACTERS, 'g');

/** Replaces each control character of `text` with its escape sequence, such as '\u001b'. */
export function escapeControls(text: string): string {
  return text.replaceAll(EACH, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
