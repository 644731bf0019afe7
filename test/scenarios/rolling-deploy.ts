import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { ApiServerStub } from '../kubernetes/api-server-stub.js';
import { Replicas, startReplicaClient, type Replica } from '../support/replicas.js';
import { CallStarts } from './support/call-starts.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { outageGrace } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const PODS = 10;
const PER_SECOND = { counts: 50, all: 300 };
const LATENCY_MS = 20;
/** Maximum number of open reads, and of open writes. It prevents a growing backlog on a machine that is too slow for the rate. */
const MAX_OPEN = 100;
/** Number of calls over which the share of a new pod is measured: ten per pod, including the new one. */
const CALLS_FOR_SHARE = 10 * (PODS + 1);
/** Time for which a terminating pod keeps serving after the client has removed the pod's address. Applies to every second pod. */
const PRE_STOP_MS = 500;

/** Source of the addresses of the pods. */
interface Directory {
  readonly url: string;
  /** Lists a pod that is ready. */
  add(pod: Replica): void;
  /** Marks a pod as terminating: removes its DNS record, or changes its EndpointSlice. */
  terminate(pod: Replica): void;
  /** Removes a pod whose process has ended. */
  remove(pod: Replica): void;
}

const DIRECTORIES = { dns: dnsOf, kubernetes: kubernetesOf };

/** Ten pods are replaced one after another. */
export const rollingDeploy: Scenario = {
  name: 'rolling-deploy',
  promise:
    'If the ten pods of a DNS name or a `kubernetes:` target are replaced one after another, no call fails and no write is executed twice. Each new pod receives calls within 2 s (for a DNS name, if `dnsRefreshMs` is 1,000), and then its share of them. A terminating pod receives no call after the client has removed the address of the pod.',
  bounds: {
    'pods replaced': { atLeast: PODS, atMost: PODS },
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'writes executed twice': { atMost: 0 },
    'smallest share of a new pod, % of an equal share': { atLeast: 80 },
    'calls to terminating pods after the client has removed them': { atMost: 0 },
    'longest time until a new pod receives a call, ms': { atMost: 2_000, timed: true },
    'last call to a pod after its termination starts, kubernetes, ms': { atMost: 100, timed: true },
    'last call to a pod after its termination starts, dns, ms': { atMost: 2_000, timed: true },
    outages: { atMost: 0 },
  },
  async measure(run) {
    const names = ['dns', 'kubernetes'] as const;
    const parts = await Promise.all(names.map((name) => deploy(run, name)));
    return Object.assign({}, ...parts) as Measured;
  },
};

async function deploy(run: Run, name: keyof typeof DIRECTORIES): Promise<Measured> {
  const pods = run.closeAtEnd(await Replicas.start(PODS));
  pods.latencyMs = LATENCY_MS;
  const directory = await DIRECTORIES[name](run, pods);
  const settings = { url: directory.url, dnsRefreshMs: name === 'dns' ? 1_000 : undefined, ...outageGrace(run) };
  const { app } = await startReplicaClient(run, pods, settings);
  const starts = new CallStarts(app);
  const removedAt = new Map<string, number>();
  app.client.events$.subscribe((event) => {
    if (event.type === 'addresses-changed') for (const address of event.removed) removedAt.set(address, event.at);
  });
  const gets = reads(run, app, PER_SECOND[run.which], MAX_OPEN);
  const creates = writes(run, app, PER_SECOND[run.which], MAX_OPEN);
  const added: { readonly url: string; readonly readyAt: number; readonly until: number }[] = [];
  const terminated: { readonly url: string; readonly at: number }[] = [];
  const urlOf = ({ address }: Replica) => `${address}:${String(pods.port)}`;
  for (const [index, old] of pods.all.slice().entries()) {
    const pod = await pods.add();
    const readyAt = Date.now();
    directory.add(pod);
    await reach(() => starts.on(urlOf(pod)).length > 0, { describe: `${name}: the first call to ${pod.address}` });
    const before = gets.calls.length + creates.calls.length;
    const begun = () => gets.calls.length + creates.calls.length - before;
    await reach(() => begun() >= CALLS_FOR_SHARE, { describe: () => `${name}: call ${begun()} of ${CALLS_FOR_SHARE}` });
    added.push({ url: urlOf(pod), readyAt, until: Date.now() });
    terminated.push({ url: urlOf(old), at: Date.now() });
    directory.terminate(old);
    const isRemoved = () => removedAt.has(urlOf(old));
    if (index % 2 === 1) {
      await reach(isRemoved, { describe: `${name}: removal of ${old.address}, which is terminating` });
      await pass(run, PRE_STOP_MS);
    }
    await old.shutDown();
    directory.remove(old);
    await reach(isRemoved, { describe: `${name}: removal of ${old.address}, which has ended` });
  }
  await Promise.all([stop(gets), stop(creates)]);
  const share = ({ url, until }: (typeof added)[number]) => starts.share(url, Math.min(...starts.on(url)), until);
  const lastCall = ({ url, at }: (typeof terminated)[number]) => Math.max(...starts.on(url)) - at;
  const late = ({ url }: { readonly url: string }) => starts.on(url).filter((at) => at > removedAt.get(url)!).length;
  const figures = {
    'pods replaced': terminated.length,
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'writes executed twice': pods.writes.length - new Set(pods.writes).size,
    'smallest share of a new pod, % of an equal share': Math.min(...added.map(share)) * (PODS + 1) * 100,
    'calls to terminating pods after the client has removed them': terminated.reduce((sum, pod) => sum + late(pod), 0),
    'longest time until a new pod receives a call, ms': Math.max(
      ...added.map(({ url, readyAt }) => Math.min(...starts.on(url)) - readyAt),
    ),
    outages: app.client.snapshot().outages.total,
  };
  return {
    ...Object.fromEntries(Object.entries(figures).map(([figure, value]) => [`${figure} @${name}`, value])),
    [`last call to a pod after its termination starts, ${name}, ms`]: Math.max(0, ...terminated.map(lastCall)),
  };
}

function dnsOf(_: Run, pods: Replicas): Promise<Directory> {
  let listed: readonly Replica[] = pods.all.slice();
  const list = (replicas: readonly Replica[]): void => {
    listed = replicas;
    pods.list(listed);
  };
  return Promise.resolve({
    url: pods.url,
    add: (pod) => {
      list([...listed, pod]);
    },
    terminate: (pod) => {
      list(listed.filter((one) => one !== pod));
    },
    remove: () => undefined,
  });
}

async function kubernetesOf(run: Run, pods: Replicas): Promise<Directory> {
  const api = run.closeAtEnd(await ApiServerStub.start());
  registerKubernetesResolver({ kubeconfig: api.kubeconfig });
  const slice = ({ address }: Replica) => ({ name: address, address, port: pods.port });
  for (const pod of pods.all) api.set(slice(pod));
  return {
    url: 'kubernetes:///orders:grpc',
    add: (pod) => {
      api.set(slice(pod));
    },
    terminate: (pod) => {
      api.set({ ...slice(pod), terminating: true, serving: true });
    },
    remove: ({ address }) => {
      api.remove(address);
    },
  };
}
