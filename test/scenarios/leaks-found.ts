import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { aboveDebug } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const UNREAD_MS = 300;

/** A stream is opened and never read to its end, and the leak check runs before and after its application is closed. */
export const leaksFound: Scenario = {
  name: 'leaks-found',
  promise:
    'With `traceStreams`, an unread stream is logged once with its call site, within 0.5 s after `unreadStreamWarningMs` (here 0.3 s), and is listed among the active calls. `captureLeaks` finds an application that was not closed.',
  bounds: {
    'time until the unread stream is reported, ms': { atMost: UNREAD_MS + 500, timed: true },
    'log lines': { atLeast: 1, atMost: 1 },
    'reported call sites in the file of the test': { atLeast: 1, atMost: 1 },
    'active calls with this call site': { atLeast: 1, atMost: 1 },
    'leaks found in an open application': { atLeast: 1 },
    'leaks found in a closed application': { atMost: 0 },
  },
  async measure(run) {
    // The upstream kinds run sequentially, because sockets and timers are counted for the whole process.
    const parts = [];
    for (const kind of run.kinds) parts.push(await againstEach({ ...run, kinds: [kind] }, (one) => leak(run, one)));
    return Object.assign({}, ...parts) as Measured;
  },
};

async function leak(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const leaks = captureLeaks();
  const settings = { unreadStreamWarningMs: UNREAD_MS, traceStreams: true };
  const app = await startClientOf(run, upstream, settings, { drain: { timeoutMs: 100 } });
  const reported: (string | undefined)[] = [];
  app.client.events$.subscribe((event) => {
    if (event.type === 'unread-stream') reported.push(event.openedAt);
  });
  await firstValueFrom(app.orders.get({ id: '1' }));
  await app.orders.watch({ from: '0' })[Symbol.asyncIterator]().next();
  const lastReadAt = performance.now();
  await reach(() => reported.length > 0);
  const reportedAfterMs = performance.now() - lastReadAt;
  await pass(run, 2 * UNREAD_MS);
  const here = (place: string | undefined) => Number(/leaks-found\.ts:\d+$/.test(place ?? ''));
  const active = app.client.activeCalls();
  const open = await leakMessage(leaks, 50);
  await app.close();
  return {
    'time until the unread stream is reported, ms': reportedAfterMs,
    'log lines': aboveDebug(app).filter((line) => line.includes(', unread for ')).length,
    'reported call sites in the file of the test': here(reported[0]),
    'active calls with this call site': active.filter(({ openedAt }) => here(openedAt) === 1).length,
    'leaks found in an open application': Number(open.includes(`(${upstream.url}) was not closed`)),
    'leaks found in a closed application': Number((await leakMessage(leaks, 30_000)) !== ''),
  };
}

/** Returns the message of the leak check; '' if everything is closed within `timeoutMs`. */
async function leakMessage(leaks: ReturnType<typeof captureLeaks>, timeoutMs: number): Promise<string> {
  return leaks.settled({ timeoutMs }).then(
    () => '',
    (error: unknown) => String(error),
  );
}
