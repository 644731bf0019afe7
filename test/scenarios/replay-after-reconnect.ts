import { replayUnacknowledged } from 'nestjs-resilient-grpc/operators';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { lastValueFrom, toArray } from 'rxjs';
import type { SessionReply, SessionRequest } from '../../src/gen/orders.pb.js';
import type { LoadCall } from '../support/call-load.js';
import { againstEach } from './support/kinds.js';
import { reads, stop } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const SESSIONS = 3;
const MESSAGES = { short: 1_500, full: 30_000 };
const BREAKS = { short: 4, full: 40 };
const WINDOW = 50;

/** Sessions send numbered messages while their connections are cut and their server is killed. */
export const replayAfterReconnect: Scenario = {
  name: 'replay-after-reconnect',
  promise:
    'After a reconnect, a session first resends its unacknowledged messages. Every message arrives, first arrivals are in order, and only messages that were in flight are repeated.',
  bounds: {
    reconnects: { atLeast: BREAKS.short },
    'messages lost': { atMost: 0 },
    'first arrivals out of order': { atMost: 0 },
    'messages unacknowledged': { atMost: 0 },
    'messages repeated per reconnect and session': { atMost: WINDOW },
    'reads failed': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => replayMessages(run, kind)),
};

async function replayMessages(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url, outageGraceMs: 60_000 });
  const gets = reads(run, app, 30);
  await upstream.prepareRestart();
  const count = MESSAGES[run.length];
  const sent = Array.from({ length: SESSIONS }, () => 0);
  const replies = sent.map((_, session) => {
    function* messages(): Generator<SessionRequest> {
      while ((sent[session] ?? 0) < count) {
        sent[session] = (sent[session] ?? 0) + 1;
        yield { messageId: String(session * 1_000_000 + (sent[session] ?? 0)), order: undefined };
      }
    }
    const replayed = replayUnacknowledged(
      (outgoing: AsyncIterable<SessionRequest>) => app.orders.session(outgoing),
      messages(),
      {
        id: ({ messageId }) => messageId,
        acknowledges: ({ messageId }: SessionReply) => messageId,
        maxUnacknowledged: WINDOW,
        // 0 counts as 1000, the minimum. A larger value would slow this run, which breaks connections many times.
        minHealthyMs: 0,
        backoff: { initialBackoffMs: 20, maxBackoffMs: 100 },
      },
    );
    return lastValueFrom(replayed.pipe(toArray()));
  });
  const ended = Promise.all(replies);
  const breaks = BREAKS[run.length];
  let interrupted: readonly LoadCall[] = [];
  for (let cut = 1; cut <= breaks; cut++) {
    const due = (cut / (breaks + 1)) * count * SESSIONS * (0.9 + 0.1 * run.random());
    await reach(() => sent.reduce((sum, one) => sum + one) >= due, {
      intervalMs: 1,
      describe: () => `${Math.trunc(due)} messages to be sent before cut ${cut}; so far ${sent.join(', ')}`,
    });
    // Reads that the previous break interrupted must end first, because each read has a limited number of attempts.
    await reach(() => interrupted.every(({ endedAt }) => endedAt !== undefined));
    interrupted = gets.open;
    if (cut % 4 === 0) await upstream.restartAfter(0);
    else proxy.resetAll();
  }
  const acknowledged = new Set((await ended).flat().map(({ messageId }) => messageId));
  await stop(gets);
  const arrived = upstream.arrived('Session').map(({ key }) => Number(key));
  const first = [...new Set(arrived)];
  const lasts = new Map<number, number>();
  let outOfOrder = 0;
  for (const id of first) {
    const session = Math.trunc(id / 1_000_000);
    if (id % 1_000_000 !== (lasts.get(session) ?? 0) + 1) outOfOrder += 1;
    lasts.set(session, id % 1_000_000);
  }
  return {
    reconnects: breaks,
    messages: count * SESSIONS,
    'messages lost': count * SESSIONS - first.length,
    'first arrivals out of order': outOfOrder,
    'messages unacknowledged': count * SESSIONS - acknowledged.size,
    'messages repeated per reconnect and session': (arrived.length - first.length) / breaks / SESSIONS,
    reads: gets.calls.length,
    'reads failed': gets.failed.length,
  };
}
