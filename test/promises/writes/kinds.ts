import { setTimeout as pause } from 'node:timers/promises';
import type { Bound } from '../../support/bound.js';
import type { Replica, Shop, StoreName } from './shop.js';

/** Longest fault. */
const FAULT_MS = 3_000;
/** Downtime of a killed process besides its start, which takes a second or two. */
const DOWN_MS = 1_000;
const REPEAT_MS = 200;

/** Figures of a run, by name. */
export type Bounds = Readonly<Record<string, Bound>>;

/** Faults of one kind, while clients write. */
export interface Kind {
  readonly name: string;
  readonly store: StoreName;
  readonly replicas: number;
  /** Deadline of a write, in milliseconds. */
  readonly deadlineMs: number;
  /** True if a HAProxy spreads the requests over the replicas. */
  readonly isProxied?: boolean;
  /** True if the replicas start with a version without the feature, and are then replaced one after the other. */
  readonly isUpdate?: boolean;
  readonly bounds: Bounds;
  /** Injects a fault, and resolves when it is over. */
  fault(shop: Shop, replica: Replica, random: () => number): Promise<void>;
}

const NONE: Bound = { atMost: 0 };
const ALWAYS: Bounds = {
  'done twice': NONE,
  'answers unlike the order': NONE,
  'answered and not done': NONE,
  'failed as not executed, and done': NONE,
};
const WITHOUT_LOSS: Bounds = { ...ALWAYS, failed: NONE, 'in doubt': NONE };
/** In doubt is at most what ran when its process or the store was lost. */
const WITH_DOUBT: Bounds = { ...ALWAYS, 'in doubt without a fault': NONE };

async function kill(_: unknown, { server, line }: Replica, random: () => number): Promise<void> {
  line.refuse();
  line.resetAll();
  await server.kill();
  await pause(random() * DOWN_MS);
  await server.restart();
  await line.listen();
}

async function freeze(_: unknown, { server }: Replica, random: () => number): Promise<void> {
  server.freeze();
  await pause(random() * FAULT_MS);
  server.thaw();
}

/** Does `what` again and again. */
async function repeatedly(what: () => void): Promise<void> {
  for (let leftMs = FAULT_MS; leftMs > 0; leftMs -= REPEAT_MS) {
    what();
    await pause(REPEAT_MS);
  }
}

const reset = (_: unknown, { line }: Replica): Promise<void> =>
  repeatedly(() => {
    line.resetAll();
  });

const goaway = (_: unknown, { line }: Replica): Promise<void> =>
  repeatedly(() => {
    line.goaway();
  });

const restartStore = ({ store }: Shop, _: unknown, random: () => number): Promise<void> =>
  store.restart(random() * DOWN_MS);

async function update(shop: Shop, replica: Replica, random: () => number): Promise<void> {
  replica.isOld = false;
  await kill(shop, replica, random);
}

const THREE = { replicas: 3, deadlineMs: 10_000 };
const ONE = { replicas: 1, deadlineMs: 10_000 };

export const KINDS: readonly Kind[] = [
  ...(
    [
      ['SIGKILL', kill],
      ['SIGSTOP', freeze],
      ['reset connections', reset],
      ['GOAWAY', goaway],
      ['a restarted store', restartStore],
    ] as const
  ).map(([name, fault]): Kind => ({ ...THREE, name, store: 'PostgreSQL', bounds: WITHOUT_LOSS, fault })),
  {
    ...{ name: 'HAProxy that cuts', store: 'PostgreSQL', ...THREE, isProxied: true },
    ...{ bounds: WITHOUT_LOSS, fault: reset },
  },
  {
    ...{ name: 'a rolling update', store: 'PostgreSQL', ...THREE, isProxied: true, isUpdate: true },
    ...{ bounds: ALWAYS, fault: update },
  },
  {
    ...{ name: 'a store that is away', store: 'PostgreSQL', ...THREE, deadlineMs: 1_000 },
    bounds: { ...ALWAYS, 'in doubt': NONE, 'begun while it was away, and not failed as not executed': NONE },
    fault: ({ store }) => store.restart(FAULT_MS),
  },
  ...(
    [
      ['SIGKILL', kill],
      ['SIGSTOP', freeze],
      ['reset connections', reset],
      ['an empty restart', restartStore],
      ['a lagging replica promoted', ({ store }: Shop) => store.failover(DOWN_MS)],
    ] as const
  ).map(([name, fault]): Kind => ({ ...THREE, name, store: 'Redis', bounds: WITH_DOUBT, fault })),
  ...(
    [
      ['reset connections', reset],
      ['GOAWAY', goaway],
      ['SIGSTOP', freeze],
    ] as const
  ).map(([name, fault]): Kind => ({ ...ONE, name, store: 'memory', bounds: WITHOUT_LOSS, fault })),
  { ...ONE, name: 'SIGKILL', store: 'memory', bounds: WITH_DOUBT, fault: kill },
];
