import { Replicas, startReplicaClient } from '../support/replicas.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { outageGrace } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const PER_SECOND = { counts: 50, all: 300 };
const REPLICAS = 6;
const CHANGES = { short: 8, full: 60 };

/** A name resolves to different addresses each second: to a set that may include previous ones, or to a single unreachable address. */
export const recordsChangeEachSecond: Scenario = {
  name: 'records-change-each-second',
  promise:
    'If the DNS records of a name change each second, even to a completely different set of servers or to an unreachable address, no call fails and no connection ends early.',
  bounds: {
    'changes followed': { atLeast: CHANGES.short },
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'connections ended early': { atMost: 0 },
  },
  measure: changeRecords,
};

async function changeRecords(run: Run): Promise<Measured> {
  const replicas = run.closeAtEnd(await Replicas.start(REPLICAS));
  const { app, ended } = await startReplicaClient(run, replicas, { dnsRefreshMs: 1_000, ...outageGrace(run) });
  const gets = reads(run, app, PER_SECOND[run.which]);
  const creates = writes(run, app, PER_SECOND[run.which]);
  let followed = 0;
  let changed = 0;
  app.client.events$.subscribe(({ type }) => (followed += type === 'addresses-changed' ? 1 : 0));
  while (followed < CHANGES[run.length] && !run.signal.aborted) {
    const listed = replicas.all.filter(() => run.random() < 0.4);
    const isUnreachable = changed % 4 === 3 || listed.length === 0;
    replicas.list(isUnreachable ? [{ address: '127.1.255.254' }] : listed);
    const { queries } = replicas.nameServer;
    // Waits until the client resolves the name again, which it does each second.
    await reach(() => replicas.nameServer.queries > queries, { intervalMs: 5 });
    changed += 1;
  }
  await Promise.all([stop(gets), stop(creates)]);
  return {
    'changes followed': followed,
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'connections ended early': ended(),
  };
}
