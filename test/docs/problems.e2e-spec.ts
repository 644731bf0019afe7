import { describe, expect, it } from 'vitest';
import { codeBlocks } from './markdown.js';
import { failuresOf, type SituationName } from './problem-scenes.js';

/** The page that shows the failures of both clients in each situation. */
const SHOWN: readonly (readonly [SituationName, page: string])[] = [
  ['no server listens', 'cannot-connect'],
  ['the connection is closed', 'connection-lost'],
  ['the connection is reset', 'connection-lost'],
  ['a server is stopped by force', 'connection-lost'],
  ['the server does not answer', 'deadline-exceeded'],
  ['the server never starts HTTP/2', 'deadline-exceeded'],
  ['RST_STREAM 0', 'connection-lost'],
  ['RST_STREAM 2', 'connection-lost'],
  ['RST_STREAM 11', 'resource-exhausted'],
  ['the server sends too_many_pings', 'resource-exhausted'],
];

/** Masks text that differs between runs: addresses, times, attempt counts, and call stages (listed only if they take at least 1 ms). */
function mask(text: string): string {
  return text
    .replace(/(name resolution|metadata filters|time to current attempt start|LB pick): [\d.]+s,/g, '')
    .replace(/\d+(\.\d+)+(:\d+)?/g, '0')
    .replace(/timeoutMs \d+/, 'timeoutMs 0')
    .replace(/; successful calls lately took .*?\(p99\)/, '')
    .replace(/\d+ connection attempts?, (connecting now|next in [\d.]+ s)/, '0 connection attempts')
    .trim();
}

describe.concurrent('failure messages in docs/problems', { timeout: 120_000 }, () => {
  it.each(SHOWN)(
    'shows the messages of the plain client and of this library for "%s" in docs/problems/%s.md',
    async (situation, page) => {
      const lines = codeBlocks(`docs/problems/${page}.md`)
        .filter(({ language }) => language === 'text')
        .flatMap(({ text }) => text.split('\n').map(mask));
      const { plain, ours } = await failuresOf(situation);
      expect(lines).toContain(mask(plain));
      if (plain !== ours) expect(lines).toContain(mask(ours));
    },
  );

  it('reports the same message as the plain client for a stream reset that does not indicate a lost connection', async () => {
    const [protocol, refused] = [await failuresOf('RST_STREAM 1'), await failuresOf('RST_STREAM 7')];
    expect(protocol).toEqual({ plain: '13 INTERNAL: Received RST_STREAM with code 1', ours: protocol.plain });
    expect(refused).toEqual({ plain: '14 UNAVAILABLE: Stream refused by server', ours: refused.plain });
  });
});
