import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** 'file:line' of who called the function that asks, for messages about something that was written twice. */
export function placeOfCaller(): string {
  // First the function that asks.
  return places(placeOfCaller).slice(1)[0] ?? UNKNOWN;
}

/** 'file:line' of the nearest code that is neither this library's nor a package's: where the application asked for something. */
export function placeInApplication(): string {
  const own = dirname(dirname(fileURLToPath(import.meta.url)));
  return places(placeInApplication).find((place) => !place.startsWith(own) && !PACKAGE.test(place)) ?? UNKNOWN;
}

const UNKNOWN = 'an unknown place';
const PACKAGE = /[\\/]node_modules[\\/]|^node:/;
const FRAME = /\(?((?:file:\/\/|[A-Za-z]:\\|\/)[^()]*?):(\d+):\d+\)?$/;

function places(above: (...args: never) => unknown): string[] {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, above);
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
