import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Returns 'file:line' of the caller's caller, for messages about duplicate definitions. */
export function callSite(): string {
  // The first entry is the caller.
  return places(stackAbove(callSite)).slice(1)[0] ?? UNKNOWN;
}

/** Returns 'file:line' of the nearest frame in application code, which is neither in this library nor in a package. */
export function applicationCallSite(): string {
  return applicationCallSiteOf(stackAbove(applicationCallSite)) ?? UNKNOWN;
}

/** Returns the application frame of a stack that was captured elsewhere; `undefined` if it has none. */
export function applicationCallSiteOf(holder: Stack): string | undefined {
  return places(holder).find((place) => (LIBRARY === undefined || !place.startsWith(LIBRARY)) && !PACKAGE.test(place));
}

/** Returns 'file:line' of the nearest frame that is not in Node itself; `undefined` if there is none. */
export function nearestCallSiteOf(holder: Stack): string | undefined {
  return places(holder)[0];
}

/**
 * Folder of this library. Evaluated when the module loads, because the CommonJS build calls `require()` for `import.meta.url`, and Jest
 * rejects a `require()` call in a timer that runs after the end of the test file. `undefined` in an esbuild CommonJS bundle, which has no
 * `import.meta.url`.
 */
const LIBRARY = folderOf(import.meta.url);
const UNKNOWN = 'an unknown location';
const PACKAGE = /[\\/]node_modules[\\/]|^node:/;
// Matches absolute paths only, because node:internal/timers contains a slash, too.
const FRAME = /(?:\(|\s)((?:file:\/\/|[A-Za-z]:\\|\/)[^()]*?):(\d+):\d+\)?$/;

function folderOf(url: string | undefined): string | undefined {
  return url === undefined ? undefined : dirname(dirname(fileURLToPath(url)));
}

/** A captured stack. V8 formats its text only when it is read. */
export interface Stack {
  readonly stack?: string;
}

/** Captures the stack from the caller of `above` upward. */
export function stackAbove(above: (...args: never) => unknown): Stack {
  const holder: Stack = {};
  Error.captureStackTrace(holder, above);
  return holder;
}

function places(holder: Stack): string[] {
  // The first line is the heading.
  return (holder.stack ?? '')
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, file, number] = FRAME.exec(line) ?? [];
      if (file === undefined || number === undefined) return [];
      return [`${file.startsWith('file://') ? fileURLToPath(file) : file}:${number}`];
    });
}
