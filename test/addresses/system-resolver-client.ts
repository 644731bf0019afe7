// A client that resolves its target through the system's resolver, from the records of a dnsmasq process. Runs in separate namespaces,
// takes no arguments, and prints its results as JSON.
import 'reflect-metadata';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { CallLoad } from '../support/call-load.js';
import { Dnsmasq } from '../support/dnsmasq.js';
import { startOrdersApp } from '../support/orders-app.js';
import { Replicas, type Replica } from '../support/replicas.js';

const NAME = 'orders.test';
const DNS_PORT = 53;
const HANG = { timeoutMs: 50_000, intervalMs: 20 };

const replicas = await Replicas.start(3);
// The cast is safe because three replicas were started.
const [first, second, third] = replicas.all as [Replica, Replica, Replica];
const addressesOf = (...listed: readonly Replica[]) => listed.map(({ address }) => address);
const dnsmasq = await Dnsmasq.start(NAME, addressesOf(first, second), DNS_PORT);
const app = await startOrdersApp({
  url: `dns:///${NAME}:${String(replicas.port)}`,
  loadBalancing: 'round_robin',
  dnsRefreshMs: 1_000,
  outageGraceMs: 60_000,
});
let ended = 0;
app.client.events$.subscribe((event) => {
  if (event.type === 'connection' && event.change === 'ended') ended += 1;
});
const load = CallLoad.start(100, () => app.orders.get({ id: '7' }), 50);
await waitFor(() => first.calls > 0 && second.calls > 0, HANG);
const beforeAdded = third.calls;
dnsmasq.list(addressesOf(first, second, third));
await waitFor(() => third.calls > 0, HANG);
dnsmasq.list(addressesOf(second, third));
await waitFor(() => app.client.snapshot().resolution.addresses === 2, HANG);
const [length, atRemoval] = [load.calls.length, first.calls];
await waitFor(() => load.calls.length > length + 50, HANG);
await load.stop();
console.log(JSON.stringify({ beforeAdded, afterRemoved: first.calls - atRemoval, failed: load.failed.length, ended }));
await app.close();
await dnsmasq.close();
replicas.close();
process.exit(0);
