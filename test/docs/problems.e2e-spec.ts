import { describe, expect, it } from 'vitest';
import { codeBlocks } from './markdown.js';
import { failuresOf, type SituationName } from './problem-scenes.js';

/** Where which failure is shown, of Nest's own client and of ours. */
const SHOWN: readonly (readonly [SituationName, page: string])[] = [
  ['nobody listens', 'no-connection-established'],
  ['the connection is closed', 'connection-dropped'],
  ['the connection is reset', 'econnreset'],
  ['a server is stopped by force', 'call-cancelled'],
  ['the server does not answer', 'deadline-exceeded'],
  ['the server never says HTTP/2', 'deadline-exceeded'],
  ['RST_STREAM 0', 'rst-stream'],
  ['RST_STREAM 2', 'rst-stream'],
  ['RST_STREAM 11', 'bandwidth-exhausted'],
  ['too many pings', 'too-many-pings'],
];

/** What differs from one run to the next: times, addresses, which stage of a call took a millisecond. */
function withoutNumbers(text: string): string {
  return text
    .replace(/(name resolution|metadata filters|time to current attempt start|LB pick): [\d.]+s,/g, '')
    .replace(/\d+(\.\d+)+(:\d+)?/g, '0')
    .replace(/\d+ tr(y|ies)\); (trying now|next try in .*)/, '0 tries)')
    .trim();
}

describe.concurrent('what the pages by problem show is what clients say', { timeout: 120_000 }, () => {
  it.each(SHOWN)('when %s: docs/problems/%s.md', async (situation, page) => {
    const lines = codeBlocks(`docs/problems/${page}.md`)
      .filter(({ language }) => language === 'text')
      .flatMap(({ text }) => text.split('\n').map(withoutNumbers));
    const { plain, ours } = await failuresOf(situation);
    expect(lines).toContain(withoutNumbers(plain));
    if (plain !== ours) expect(lines).toContain(withoutNumbers(ours));
  });

  it('leaves what is no lost connection as it is, and says so', async () => {
    const [protocol, refused] = [await failuresOf('RST_STREAM 1'), await failuresOf('RST_STREAM 7')];
    expect(protocol).toEqual({ plain: '13 INTERNAL: Received RST_STREAM with code 1', ours: protocol.plain });
    expect(refused).toEqual({ plain: '14 UNAVAILABLE: Stream refused by server', ours: refused.plain });
  });
});
