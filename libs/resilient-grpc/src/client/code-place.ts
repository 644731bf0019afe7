import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** 'file:line' of who called the function that asks, for messages about something that was written twice. */
export function placeOfCaller(): string {
  // First the function that asks.
  return places(stackAbove(placeOfCaller)).slice(1)[0] ?? UNKNOWN;
}

/** 'file:line' of the nearest code that is neither this library's nor a package's: where the application asked for something. */
export function placeInApplication(): string {
  return applicationPlaceOf(stackAbove(placeInApplication)) ?? UNKNOWN;
}

/** The same of a stack that was taken elsewhere; undefined: no such code is in it. */
export function applicationPlaceOf(holder: Stack): string | undefined {
  const own = dirname(dirname(fileURLToPath(import.meta.url)));
  return places(holder).find((place) => !place.startsWith(own) && !PACKAGE.test(place));
}

/** 'file:line' of the nearest code that is not Node's own; undefined: there is none. */
export function nearestPlaceOf(holder: Stack): string | undefined {
  return places(holder)[0];
}

const UNKNOWN = 'an unknown place';
const PACKAGE = /[\\/]node_modules[\\/]|^node:/;
// What does not begin as a path is none: node:internal/timers has a slash too.
const FRAME = /(?:\(|\s)((?:file:\/\/|[A-Za-z]:\\|\/)[^()]*?):(\d+):\d+\)?$/;

/** Whose text is only made when it is read. */
export interface Stack {
  readonly stack?: string;
}

/** The stack of whoever called `above`. */
export function stackAbove(above: (...args: never) => unknown): Stack {
  const holder: Stack = {};
  Error.captureStackTrace(holder, above);
  return holder;
}

function places(holder: Stack): string[] {
  // First the heading.
  return (holder.stack ?? '')
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, file, number] = FRAME.exec(line) ?? [];
      if (file === undefined || number === undefined) return [];
      return [`${file.startsWith('file://') ? fileURLToPath(file) : file}:${number}`];
    });
}
