// A separate gateway process (node dist/shutdown/main.js --contender plain|tuned|resilient --url 127.0.0.1:50051 [--busy]). The scenario
// `shutdown` starts the process, sends HTTP requests, and terminates it with SIGTERM, like an orchestrator. The process reports to its
// parent over the IPC channel, and exits if the parent exits.
import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { CONTENDER_NAMES } from '../contenders/contender.js';
import { epochMs } from '../epoch.js';
import { CapturedLogger } from '../report/captured-logger.js';
import { Background } from './background.js';
import { GATEWAY_ORDERS, type GatewayOrders } from './gateway-orders.js';
import type { GatewayCommand, GatewayNotice } from './messages.js';
import { ShutdownGatewayModule } from './shutdown-gateway.module.js';

const { values } = parseArgs({
  options: {
    contender: { type: 'string', default: 'resilient' },
    url: { type: 'string', default: '127.0.0.1:50051' },
    busy: { type: 'boolean', default: false },
  },
});
const contender = CONTENDER_NAMES.find((name) => name === values.contender);
if (contender === undefined)
  throw new Error(`--contender: expected one of ${CONTENDER_NAMES.join(', ')}, got '${values.contender}'`);

let signaledAtMs: number | undefined;
let clientsClosedAtMs: number | undefined;
process.on('SIGTERM', onSigterm);
process.once('disconnect', () => process.exit(0));
process.on('message', (_command: GatewayCommand) => report());
// The handles that every process of this kind has open.
const usualHandles = process.getActiveResourcesInfo();

const logger = new CapturedLogger();
logger.lines$.subscribe((line) => notify({ type: 'line', line }));
const module = ShutdownGatewayModule.forContender({ contender, url: values.url, busy: values.busy });
const app = await NestFactory.create<NestExpressApplication>(module, {
  logger,
  // The usual fix for a shutdown that hangs on open connections.
  forceCloseConnections: contender === 'tuned',
});
app.enableShutdownHooks();
await app.listen(0, '127.0.0.1');
const background = app.get(Background);
await background.started;
app.get<GatewayOrders>(GATEWAY_ORDERS).closed?.then(
  () => (clientsClosedAtMs = epochMs()),
  () => undefined,
);
notify({ type: 'ready', url: await app.getUrl() });

/**
 * Records the time of the first SIGTERM. At the end of its shutdown, Nest removes its listener and raises SIGTERM again; this function then
 * sends the report and terminates the process.
 */
function onSigterm(): void {
  signaledAtMs ??= epochMs();
  if (process.listenerCount('SIGTERM') > 1) return;
  report(() => {
    process.off('SIGTERM', onSigterm);
    process.kill(process.pid, 'SIGTERM');
  });
}

function report(onSent: () => void = () => undefined): void {
  // Excludes immediates, because they end with this event-loop turn.
  const openHandles = process.getActiveResourcesInfo().filter((kind) => kind !== 'Immediate');
  for (const kind of usualHandles) {
    const index = openHandles.indexOf(kind);
    if (index >= 0) openHandles.splice(index, 1);
  }
  const clientsClosedMs =
    clientsClosedAtMs === undefined || signaledAtMs === undefined ? undefined : clientsClosedAtMs - signaledAtMs;
  notify({ type: 'report', feed: background.feed, openHandles, clientsClosedMs }, onSent);
}

function notify(notice: GatewayNotice, onSent: () => void = () => undefined): void {
  if (process.send) process.send(notice, onSent);
  else onSent();
}
