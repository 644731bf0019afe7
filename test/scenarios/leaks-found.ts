import { captureLeaks } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { againstEach } from './support/kinds.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

/** A stream is opened and never read to its end. The leak check runs before and after its application is closed. */
export const leaksFound: Scenario = {
  name: 'leaks-found',
  promise: '`captureLeaks` finds an application that was not closed.',
  bounds: {
    'active calls with the call site that opened them': { atLeast: 1, atMost: 1 },
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
  const app = await startClientOf(run, upstream, {}, { drain: { timeoutMs: 100 } });
  await firstValueFrom(app.orders.get({ id: '1' }));
  await app.orders.watch({ from: '0' })[Symbol.asyncIterator]().next();
  const here = (place: string | undefined) => Number(/leaks-found\.ts:\d+$/.test(place ?? ''));
  const active = app.client.activeCalls();
  const open = await leakMessage(leaks, 50);
  await app.close();
  return {
    'active calls with the call site that opened them': active.filter(({ openedAt }) => here(openedAt) === 1).length,
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
