// Serves the demo page: run node dist/main.js and open http://localhost:3000. Set PORT and HOST for another address.
import 'reflect-metadata';
import { join } from 'node:path';
import { ConsoleLogger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { UpstreamProcess } from './chaos/upstream-process.js';
import { GatewayModule } from './gateway/gateway.module.js';
import { collectMetrics } from './gateway/metrics.module.js';
import { ROOT } from './orders-contract.js';
import { CapturedLogger } from './report/captured-logger.js';

const PORT = Number(process.env['PORT'] ?? 3_000);
// Loopback by default, because the page has buttons that kill a process.
const HOST = process.env['HOST'] ?? '127.0.0.1';

const logger = new CapturedLogger(new ConsoleLogger({ logLevels: ['log', 'warn', 'error', 'fatal'] }));
const upstream = await UpstreamProcess.start();

collectMetrics();
const app = await NestFactory.create<NestExpressApplication>(GatewayModule.forUpstream({ upstream, logger }), {
  logger,
  // Browsers keep connections open, and close() would wait for them.
  forceCloseConnections: true,
});
app.enableShutdownHooks();
app.useStaticAssets(join(ROOT, 'src', 'gateway', 'public'));

try {
  await app.listen(PORT, HOST);
  console.log(`\n  The demo: ${await app.getUrl()}\n`);
} catch (error) {
  console.error(`Cannot listen on ${HOST}:${PORT} (${String(error)}). Use another port: PORT=3001 npm start`);
  await app.close();
  process.exitCode = 1;
}
