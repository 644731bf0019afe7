import { NestFactory } from '@nestjs/core';
import { expect, it } from 'vitest';
import { ResilientGrpcDashboardModule } from './resilient-grpc-dashboard.module.js';

it('a dashboard that is imported without options fails the start, and says what to write', async () => {
  const start = NestFactory.createApplicationContext(ResilientGrpcDashboardModule, {
    logger: false,
    abortOnError: false,
  });
  await expect(start).rejects.toThrow(
    'imports: ResilientGrpcDashboardModule: imported without options; ' +
      'write ResilientGrpcDashboardModule.forRoot({ guards: [OpsGuard] }), or forRoot({ public: true })',
  );
});
