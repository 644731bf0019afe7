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

/** Serves a show with a server, clients, and a log of its own, until a visitor starts over. Then serves the next one on the same port. */
async function serve(upstream: UpstreamProcess, port: number): Promise<void> {
  const logger = new CapturedLogger(new ConsoleLogger({ logLevels: ['log', 'warn', 'error', 'fatal'] }));
  const startOver = async (): Promise<void> => {
    // In another process and on another port than before, because grpc-js's clients share what they know of an address.
    const next = await UpstreamProcess.start();
    const current = new URL(await app.getUrl()).port;
    await app.close();
    await serve(next, Number(current) || port);
  };
  const app = await NestFactory.create<NestExpressApplication>(
    GatewayModule.forUpstream({ upstream, logger, startOver }),
    // Browsers keep connections open, and close() would wait for them.
    { logger, forceCloseConnections: true },
  );
  app.enableShutdownHooks();
  app.useStaticAssets(join(ROOT, 'src', 'gateway', 'public'));
  try {
    await app.listen(port, HOST);
    console.log(`\n  The demo: ${await app.getUrl()}\n`);
  } catch (error) {
    console.error(`Cannot listen on ${HOST}:${port} (${String(error)}). Use another port: PORT=3001 npm start`);
    await app.close();
    process.exitCode = 1;
  }
}

collectMetrics();
await serve(await UpstreamProcess.start(), PORT);
