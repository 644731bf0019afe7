import { masked } from './masked.js';

const LONGEST = 300;
/** What is read of a text: secrets are looked for in more of it than is shown, so that one is known that the end of it cuts. */
const READ = 2_000;
/** Frames of a stack that are shown. */
const FRAMES = 20;

/** A text of the other side as it may stand in a log: cut, without what would begin a line or colour a terminal, secrets masked. */
export function oneLine(text: string): string {
  const isCut = text.length > READ;
  const escaped = masked(isCut ? text.slice(0, READ) : text, isCut).replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return isCut || escaped.length > LONGEST ? `${escaped.slice(0, LONGEST)}…` : escaped;
}

/**
 * The stack of an error as it may stand in a log: its text on one line, then frames, each a line that is set in. What an error says may
 * be what a client sent: in a stack it stands as it is, of any length.
 */
export function stackOf(what: string, message: string, stack: string): string {
  const frames = stack
    .slice(Math.max(0, stack.indexOf(message)) + message.length)
    .slice(0, FRAMES * LONGEST)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '))
    .slice(0, FRAMES);
  return [oneLine(what), ...frames.map((frame) => `    ${oneLine(frame)}`)].join('\n');
}

/** '80 ms', '5.1 s', '125 s' */
export function duration(ms: number): string {
  if (ms < 1_000) return `${ms.toFixed(0)} ms`;
  return `${(ms / 1_000).toFixed(ms < 100_000 ? 1 : 0)} s`.replace('.0 s', ' s');
}

/** '1 call', '2 calls' */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${String(count)} ${count === 1 ? one : many}`;
}
