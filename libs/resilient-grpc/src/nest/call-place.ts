import { fileURLToPath } from 'node:url';

/** 'file:line' of who called the function that asks, for messages about something that was written twice. */
export function placeOfCaller(): string {
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, placeOfCaller);
  // First the heading, then the function that asks.
  for (const line of (holder.stack ?? '').split('\n').slice(2)) {
    const match = /\(?((?:file:\/\/|[A-Za-z]:\\|\/)[^()]*?):(\d+):\d+\)?$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const file = match[1].startsWith('file://') ? fileURLToPath(match[1]) : match[1];
    return `${file}:${match[2]}`;
  }
  return 'an unknown place';
}
